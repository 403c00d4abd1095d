//! The server itself, asked by hand.
#![cfg(test)]

mod client;
mod endpoints;
mod faults;
mod refusals;
