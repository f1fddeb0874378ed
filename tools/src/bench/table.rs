//! placeholder
#[derive(clap::Args)]
pub struct TableArgs {}
pub fn run(_: &TableArgs) -> Result<(), String> { Ok(()) }
