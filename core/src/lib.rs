//! What druid decides: values in, values out. No clock, no randomness, no file, no socket; this
//! crate's manifest is the proof.
//!
//! Reading order: [`version`] (what may go where), [`observed`] (what was seen), [`refusal`]
//! (every "no"), [`preflight`] (may it begin), [`upgrade`] (what next), [`report`] (how it went).

pub mod agent;
pub mod api;
pub mod backup;
pub mod bolt;
pub mod certificate;
pub mod chaos;
pub mod cli;
pub mod compaction;
pub mod config_keys;
pub mod copy_task;
pub mod data_dir;
pub mod defragment;
pub mod demo;
pub mod doctor;
pub mod duration;
pub mod election;
mod exposition;
pub mod hashkv;
pub mod images;
pub mod jobs;
pub mod linearizability;
pub mod make;
pub mod member;
pub mod mvcc;
pub mod observed;
pub mod operator;
pub mod ops_task;
pub mod oracle;
pub mod preflight;
pub mod protection;
pub mod quantity;
pub mod reconcile;
pub mod refusal;
pub mod render;
pub mod report;
pub mod restore_plan;
pub mod secret_finalizers;
pub mod snapshot_file;
pub mod status;
pub mod upgrade;
pub mod version;
pub mod warnings;
pub mod webhook_certificate;
