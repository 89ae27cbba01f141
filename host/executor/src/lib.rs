//! The privileged runner of agents, a process of its own.
