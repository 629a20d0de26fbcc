#!/bin/sh
# Makes this machine a Skyward node. It may be run again at any time, and goes on where it was cut off.
set -u
umask 022
S="$HOME/.skyward"
CACHE="${SKYWARD_CACHE:-$HOME/.cache/skyward}"
export UV_CACHE_DIR="${UV_CACHE_DIR:-$CACHE/uv}"
export UV_PYTHON_INSTALL_DIR="${UV_PYTHON_INSTALL_DIR:-$CACHE/python}"
export UV_NO_PROGRESS=1
HAS_FLOCK=$(command -v flock) || HAS_FLOCK=
HAS_SETSID=$(command -v setsid) || HAS_SETSID=
PYTHON='3.11'
TARGET="$S/envs/b0a35719fc5a2c2b"
RECIPE=cb57d470e183

# --- for steps ---

die() {
  printf '%s\n' "$*" >&2
  exit 1
}

# The start time of process $1 into $born, or nothing: with it a number used again is not taken for the old process.
look_up() {
  born=
  { read -r line <"/proc/$1/stat"; } 2>/dev/null || return 0
  set -- ${line##*) }
  shift 19
  born=$1
}

# Make directory $1 ours, for as long as this process lives. Used where there is no flock.
claim() {
  if ! mkdir "$1" 2>/dev/null; then
    owner='' since=''
    { read -r owner since <"$1/owner"; } 2>/dev/null || :
    if [ -n "$owner" ]; then
      look_up "$owner"
      [ "$born" != "$since" ] || return 1
    elif [ -z "$(find "$1" -maxdepth 0 -mmin +1 2>/dev/null)" ]; then
      return 1 # made, but not signed yet
    fi
    mv "$1" "$1.stale.$$" 2>/dev/null || return 1
    rm -rf "$1.stale.$$"
    mkdir "$1" 2>/dev/null || return 1
  fi
  look_up $$
  printf '%s %s\n' $$ "$born" >"$1/owner"
}

# Wait until lock file $1 is ours; it is released when this step ends.
acquire() {
  if [ -n "$HAS_FLOCK" ]; then
    exec 8>"$1"
    flock 8
  else
    held=$1.claim
    until claim "$held"; do sleep 1; done
    trap 'rm -rf "$held"' EXIT
  fi
}

# Become $@, out of reach of whatever ends this session.
detach() {
  trap '' HUP
  exec ${HAS_SETSID:+setsid} "$@"
}

# Install a file: path (relative to the home, or absolute), mode, content.
put() {
  case $1 in
  /*) path=$1 ;;
  *) path=$HOME/$1 ;;
  esac
  mkdir -p "${path%/*}"
  (umask 077 && printf '%s' "$3" >"$path.new.$$")
  chmod "$2" "$path.new.$$"
  mv -f "$path.new.$$" "$path"
}

# The uv to use into $UV: the host's own, or one installed into the cache once per host.
find_uv() {
  cd /
  UV=$(command -v uv) && return 0
  UV=$CACHE/tools/bin/uv
  [ -x "$UV" ] && return 0
  for python in "${SKYWARD_PYTHON:-}" python3 python; do
    [ -n "$python" ] && command -v "$python" >/dev/null || continue
    rm -rf "$CACHE/tools.$$"
    "$python" -m venv "$CACHE/tools.$$" && "$CACHE/tools.$$/bin/python" -m pip install --quiet uv || continue
    rm -rf "$CACHE/tools"
    mv "$CACHE/tools.$$" "$CACHE/tools"
    return 0
  done
  rm -rf "$CACHE/tools.$$"
  die "this node has neither uv nor a Python with venv and pip to install uv with: put one of them into its base image"
}

fits() {
  [ -n "$1" ] && [ "$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" = "$PYTHON" ]
}

# An empty environment of the wanted Python at $TARGET.
make_env() {
  find_uv
  rm -rf "$TARGET"
  choice=$PYTHON
  if fits "${SKYWARD_PYTHON:-}"; then choice=$SKYWARD_PYTHON; fi
  "$UV" venv --quiet --no-project --python "$choice" "$TARGET" ||
    die "Python $PYTHON is not to be had: this node has none and uv could not download one." \
      "Install it there, or set spec.image.python to a version that is there"
}

env_has() { [ -e "$TARGET/.$1" ] && [ -x "$TARGET/bin/python" ]; }

use_env() { ln -sfn "$TARGET" "$S/env"; }

# --- the steps ---

in_image() {
export OMP_NUM_THREADS='1'
export VIRTUAL_ENV="$S/env" PATH="$S/env/bin:$PATH"
}

step_python() {
mkdir -p "${TARGET%/*}"
acquire "$TARGET.lock"
if ! env_has complete && ! env_has made; then
  make_env
  : >"$TARGET/.made"
fi
}

check_python() {
env_has complete || env_has made
}

step_packages() {
acquire "$TARGET.lock"
if ! env_has complete; then
  # Marked while it is filled: what a killed run left half full is made anew.
  if ! env_has made || [ -e "$TARGET/.filling" ]; then make_env; else find_uv; fi
  : >"$TARGET/.filling"
  settings=$("$TARGET/bin/python" -c '
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
')
  eval "$settings"
  "$UV" pip install --python "$TARGET/bin/python" -- 'numpy'
  mv "$TARGET/.filling" "$TARGET/.complete"
fi
use_env
}

check_packages() {
[ -x "$S/env/bin/python" ]
}

step_environment() {
put .skyward/environment 600 '{"OMP_NUM_THREADS": "1"}'
}

step_setup_1() {
in_image
cd "$HOME"
sh -ec 'echo hello'
}

step_image() {
"$S/env/bin/python" -S -E -c "" || die "the Python environment $S/env does not run"
}

check_image() {
[ -x "$S/env/bin/python" ]
}

step_agent() {
cd "$HOME"
[ -f "$S/agent.pyz" ] || die "the agent file $S/agent.pyz was not uploaded"
(detach "$S/env/bin/python" "$S/agent.pyz" run --home "$S") </dev/null >>"$S/agent.log" 2>&1 &
agent=$!
tries=0
while kill -0 "$agent" 2>/dev/null; do
  { read -r pid <"$S/agent.pid"; } 2>/dev/null || pid=
  if [ "$pid" = "$agent" ] || [ "$tries" -ge 20 ]; then exit 0; fi
  tries=$((tries + 1))
  sleep 0.05
done
if wait "$agent"; then exit 0; fi # another one runs already
tail -n 20 "$S/agent.log" >&2
die "the agent ended as soon as it was started"
}

# --- the run ---

case ${1:-} in
--step)
  set -e
  "step_$2"
  exit 0
  ;;
--unless)
  "unless_$2"
  exit
  ;;
esac

RUN=${1:-manual}
trap '' PIPE

# Hundredths of a second since boot into $now.
look_at_clock() {
  read -r now _ </proc/uptime
  now=$((${now%.*} * 100 + 1${now#*.} - 100))
}

# A journal line: step, event, text. It also goes to whoever listens; nobody need listen.
emit() {
  printf 'skyward %s %s %s %s\n' "$RUN" "$1" "$2" "$3" >>"$S/journal"
  printf 'skyward %s %s %s %s\n' "$RUN" "$1" "$2" "$3" 2>/dev/null || :
}

if timeout -k 1 5 true 2>/dev/null; then
  limit() { timeout -k 10 "$@"; }
else
  limit() {
    seconds=$1
    shift
    (detach "$@") &
    child=$!
    group=${HAS_SETSID:+-}$child
    (sleep "$seconds" && kill -- "$group" && sleep 10 && kill -9 -- "$group") >/dev/null 2>&1 &
    guard=$!
    wait "$child"
    result=$?
    kill "$guard" 2>/dev/null
    return "$result"
  }
fi

# Run function $2 of kind $1 (step, unless) for at most $3 seconds.
call() (
  trap - PIPE
  exec 9>&-
  limit "$3" sh "$0" "--$1" "$2" </dev/null
)

# Keep the beginning of a flood while it comes and its end once it is over: it cannot fill the disk.
keep_output() {
  trap - PIPE
  head -c 1048576 >"$S/steps/$id.log"
  tail -c 65536 >"$S/steps/$id.end"
}

show_tail() {
  tries=0
  while kill -0 "$reader" 2>/dev/null && [ "$tries" -lt 20 ]; do
    sleep 0.05
    tries=$((tries + 1))
  done
  cat "$S/steps/$id.log" "$S/steps/$id.end" 2>/dev/null | tail -c 4096 | tail -n 20 |
    while IFS= read -r text || [ -n "$text" ]; do emit "$id" tail "$text"; done
}

is_marked() { { read -r took <"$S/steps/$1"; } 2>/dev/null; }

mark() { printf '%s\n' "$took" >"$S/steps/$id.$hash"; }

is_done() {
  took=0.00
  case $flags in *always*) return 1 ;; esac
  if ! is_marked "$id.$hash"; then
    took=0.00
    [ -n "$passed" ]
  elif [ -z "$passed" ]; then
    case $flags in *check*) "check_$function" >/dev/null 2>&1 ;; esac
  fi
}

# One step: id, function, hash, deadline, flags, title.
step() {
  id=$1 function=$2 hash=$3 deadline=$4 flags=$5
  if is_done; then
    emit "$id" skip "$took"
    return 0
  fi
  emit "$id" start "$6"
  case $flags in
  *unless*)
    if call unless "$function" 60 >/dev/null 2>&1; then
      mark
      emit "$id" skip "$took"
      return 0
    fi
    ;;
  esac
  look_at_clock
  began=$now
  rm -f "$S/steps/$id.pipe" "$S/steps/$id.end"
  mkfifo "$S/steps/$id.pipe" || exit 1
  # It lives as long as anything that the step left running, so it must hold nothing of ours. By exec: a shell keeps
  # hidden copies of what it redirects for a while.
  (
    exec <"$S/steps/$id.pipe" >/dev/null 2>&1 9>&-
    keep_output
  ) &
  reader=$!
  status=0
  call step "$function" "$deadline" >"$S/steps/$id.pipe" 2>&1 || status=$?
  look_at_clock
  spent=$((now - began))
  rest=$((spent % 100))
  case $rest in ?) rest=0$rest ;; esac
  took=$((spent / 100)).$rest
  if [ "$status" -eq 0 ]; then
    case $flags in *always*) ;; *) mark ;; esac
    emit "$id" ok "$took"
    return 0
  fi
  [ "$spent" -lt $((deadline * 100)) ] || status=124
  emit "$id" fail "$took $status"
  show_tail
  emit - end fail
  exit 1
}

[ -d "$S/steps" ] || (umask 077 && mkdir -p "$S/steps") || exit 1
if [ -n "$HAS_FLOCK" ]; then
  exec 9>"$S/bootstrap.lock"
  flock -n 9
else
  claim "$S/bootstrap.claim"
fi || {
  printf 'skyward %s - busy -\n' "$RUN"
  exit 75
}
: >"$S/journal"
emit - run "$RECIPE"
passed=
took=0.00

if is_marked image.146b9ff37f6e && check_image >/dev/null 2>&1; then passed=yes; fi
step python python 5e88af233ebc 900 check 'make the Python environment'
step packages packages 4295a4e30d5d 1800 check 'install packages'
step environment environment 1a642d938904 30 - 'write the environment'
step setup-1 setup_1 33d0faf2cf24 600 - 'echo hello'
step image image 146b9ff37f6e 60 check 'check the image'
passed=
step agent agent cb57d470e183 60 always 'start the agent'
emit - end ok
