//! Slots on a real chain: an operator that lies or does not, challengers, and a committee of one key, which is enough to
//! test what is done with its signatures.

mod arena;
mod ground;
mod liar;
mod lockstep;
mod made_up;
mod outcome;
mod parties;
mod player;
mod scene;
mod sightings;
mod stranger;

pub use arena::{Arena, Claim, ROUNDS, params};
pub use liar::{Cover, Field, LOWEST, Liar, Lie, StepLie, WRONG_UNIT};
pub use outcome::{CLAIMED, Defeat, Loses, defeat, for_lies, moves};
pub use parties::{DEPLOYMENT, Parties, Side};
pub use player::{Chooses, Play};
pub use scene::{Scened, Scenes};
pub use sightings::Sightings;
pub use stranger::Stranger;
