//! The fencing core, driven by scripts that can be read aloud, and by chance.

mod cases;
mod chance;
mod choice;
mod failure;
mod order;
mod script;
