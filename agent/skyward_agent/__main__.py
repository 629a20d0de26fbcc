"""`python -m skyward_agent`, and the entry of the agent file."""

from skyward_agent.main import main

main()
