"""Where image arguments lead outside of this machine's files: a Docker daemon, and logins that Docker keeps.

Everything here takes what it needs as arguments (no click, no terminal), so that another program can use it.
"""
