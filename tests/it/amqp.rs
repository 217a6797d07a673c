//! Calls and events, in and out, over a real RabbitMQ.

mod bridge;
mod calls_in;
mod calls_out;
mod events;
mod hostile;
mod inside;
mod outage;
pub mod service;
