"""Where the host's pip would look for packages, said in uv's words: uv itself reads none of pip's configuration."""

from __future__ import annotations

PIP_SETTINGS = r"""
import configparser, os, shlex, sys
env, home = os.environ, os.path.expanduser("~")
config = env.get("XDG_CONFIG_HOME") or os.path.join(home, ".config")
files = ["/etc/xdg/pip/pip.conf", "/etc/pip.conf", os.path.join(home, ".pip", "pip.conf"),
         os.path.join(config, "pip", "pip.conf"), env.get("PIP_CONFIG_FILE", "")]
values = {}
for name in files:
    parser = configparser.RawConfigParser()
    try:
        parser.read(name)
    except (configparser.Error, UnicodeDecodeError) as error:
        print("ignoring %s: %s" % (name, error), file=sys.stderr)
        continue
    for section in ("global", "install"):
        if parser.has_section(section):
            values.update((key.replace("_", "-"), value) for key, value in parser.items(section))
for key in ("index-url", "extra-index-url", "find-links", "no-index", "trusted-host", "cert"):
    value = env.get("PIP_" + key.upper().replace("-", "_"))
    if value:
        values[key] = value
def export(name, value):
    if value and not env.get(name):
        print("export %s=%s" % (name, shlex.quote(value)))
def words(key):
    return values.get(key, "").split()
if not env.get("UV_INDEX_URL"):
    export("UV_DEFAULT_INDEX", " ".join(words("index-url")))
if words("extra-index-url") and not env.get("UV_INDEX"):
    export("UV_EXTRA_INDEX_URL", " ".join(words("extra-index-url")))
    export("UV_INDEX_STRATEGY", "unsafe-best-match")
export("UV_FIND_LINKS", ",".join(words("find-links")))
export("UV_INSECURE_HOST", " ".join(words("trusted-host")))
if values.get("no-index", "").lower() in ("1", "true", "yes", "on"):
    export("UV_NO_INDEX", "1")
export("SSL_CERT_FILE", values.get("cert", ""))
"""
"""A Python program that prints `export` lines. What is said in uv's own variables stands. pip weighs all its indexes
alike, so a host that names extra ones for pip gets the same from uv."""
