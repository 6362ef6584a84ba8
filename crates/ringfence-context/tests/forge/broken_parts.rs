//! The range's doors, in a build without them.
fn main() {
    let _ = ringfence_context::broken::AnyTxn;
}
