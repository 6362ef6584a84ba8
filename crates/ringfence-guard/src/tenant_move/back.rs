//! The way back of a move: made while the way there is gone, and begun in the moment in which both copies are equal.

use super::{Memory, MoveError, Phase, Side, TenantMove, record::Record, session, slot};

impl TenantMove {
    /// Opens what [`TenantMove::start_here`] needs, while nobody waits for it.
    ///
    /// # Errors
    /// As there.
    pub async fn start_soon(&mut self) -> Result<(), MoveError> {
        self.memory.open = Some(self.ends().await?);
        Ok(())
    }

    /// Begins following now, when both copies are equal and nobody can write at either: what the source's WAL has of before, which
    /// is what brought the source's rows there, is not brought to the target again. A slot can only be made when every
    /// transaction that is open has ended; this waits for nobody, and leaves it to the next step to let go of that WAL.
    ///
    /// # Errors
    /// [`MoveError::NotPrepared`], and whatever Postgres says.
    pub async fn start_here(&mut self) -> Result<(), MoveError> {
        let (source, target) = self.ends().await?;
        let now = slot::mark(&source).await?;
        Record { phase: Phase::Following, snapshot: None, applied: now }.set(&target, &self.name).await?;
        self.memory = Memory::default();
        Ok(())
    }

    /// Removes what was made for the move at one of both places, where the other is gone.
    ///
    /// # Errors
    /// [`MoveError::Postgres`].
    pub async fn forget_at(&mut self, side: Side) -> Result<(), MoveError> {
        self.memory = Memory::default();
        match side {
            Side::Source => slot::forget(&session::open(&self.source).await?, &self.name).await,
            Side::Target => self.record_remove(&session::open(&self.target).await?).await,
        }
    }
}
