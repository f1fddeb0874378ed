//! zookeeper-client against one server: the steps every client shows, then a session handed to another client,
//! persistent watches, reads in one request, a client below a root of its own, and the lock recipe.
//!
//! A step's name is printed only after everything in it held; whatever does not hold panics and ends the program.

mod common;
mod own;
mod stage;

use stage::Stage;

#[tokio::main]
async fn main() {
    let mut stage = Stage::connect().await;
    common::play(&mut stage).await;
    own::play(&stage).await;
}
