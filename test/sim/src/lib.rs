//! Whole clusters under simulated faults, and checkers of the safety rules.
