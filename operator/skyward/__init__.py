"""Pools of cloud machines, declared as files and kept true by a control loop; run Python functions on them."""
