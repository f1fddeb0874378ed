//! The load generator behind `zk-bench`: speaks the client protocol to any server, ours or not.
//!
//! [`args`] reads what was asked for ([`preset`]s included) into [`plan::Plan`]s. A plan runs on a [`stage`], which
//! measures processes and time around it: [`drive`] is the mix of operations, [`watch`], [`storm`], [`idle`] and
//! [`kafka`] have scripts of their own on a [`crowd`]; [`failover`] kills servers meanwhile. [`report`] and [`plot`]
//! show it. [`compare`] runs plans against two servers in turn, [`table`] holds the rows that Ringkeeper must reach,
//! and [`floor`] what no server can beat. Latency is measured from the moment a request is due: in a closed loop when
//! it is sent, in an open loop when its turn in the schedule came, so that a server's pause is charged to every
//! request it delayed (no coordinated omission).

pub mod args;
pub mod preset;

pub mod plan;
pub mod stage;

pub mod keys;
pub mod mix;

pub mod conn;
pub mod requests;

pub mod drive;
pub mod timer;

pub mod crowd;
pub mod idle;
pub mod kafka;
pub mod storm;
pub mod watch;

pub mod failover;
pub mod fill;
pub mod syncs;

pub mod host;
pub mod measure;
pub mod process;

pub mod figures;
pub mod plot;
pub mod report;

pub mod command;
pub mod compare;
pub mod floor;
pub mod scale;
pub mod servers;
pub mod table;
pub mod targets;
