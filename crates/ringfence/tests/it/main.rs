//! The program as a person runs it: started, asked, attacked, killed and started again, with the sample app behind it
//! and a real Postgres. Nothing here links a part of the plane: processes, sockets and files only.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "what a test does not expect fails it"
)]

mod application;
mod at_place;
mod authzen;
mod avp;
mod caps;
mod cluster;
mod commands;
mod crash;
mod credential;
mod data;
mod data_move;
mod data_tour;
mod demo;
mod entity;
mod explain;
mod faults;
mod governing;
mod http;
mod init;
mod isolation;
mod jobs;
mod maps;
mod migrate;
mod nodes;
mod policy_bombs;
mod process;
mod program;
mod session;
mod shapes;
mod shard;
mod tls;
mod writing;
