//! The process in which a plane has policies proved: its own program, told `prover`. See
//! [`Solver::prover`](crate::settings::Solver::prover).

pub use ringfence_authorization::proof::answer;
