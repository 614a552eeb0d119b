//! Searches for two neighbours, the lower one right and the upper one wrong.
//!
//! Positions of a search over `arity^rounds` intervals are numbers of `rounds` digits. Each round publishes the values that
//! cut the interval left into `arity`, and a choice names one of those. So a position's value is published in the round of
//! its lowest digit that is not zero.

/// A search's shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Search {
    /// Intervals that a round cuts one into.
    pub arity: u8,
    /// Rounds.
    pub rounds: u8,
}

/// Where the value at a position is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Bound {
    /// It is the search's start.
    Start,
    /// It is the search's end.
    End,
    /// In a round.
    Point {
        /// The round.
        round: u8,
        /// The value within it.
        index: u8,
    },
}

/// A choice that was made: the round, and the option.
pub type Chosen = (u8, u8);

impl Search {
    /// Gives the number of intervals.
    pub fn intervals(self) -> u64 {
        u64::from(self.arity).pow(u32::from(self.rounds))
    }

    /// Gives the values of each round.
    pub const fn points(self) -> u8 {
        self.arity - 1
    }

    /// Gives the positions of the interval that choices leave: its lower end, and the steps to its upper one.
    pub fn interval(self, choices: &[u8]) -> (u64, u64) {
        let arity = u64::from(self.arity);
        let start = choices
            .iter()
            .fold(0, |position, choice| position * arity + u64::from(*choice));
        let width = arity.pow(u32::from(self.rounds) - choices.len() as u32);
        (start * width, width)
    }

    /// Gives the positions that the round after these choices publishes.
    pub fn asked(self, choices: &[u8]) -> Vec<u64> {
        let (start, width) = self.interval(choices);
        let width = width / u64::from(self.arity);
        (1..u64::from(self.arity))
            .map(|point| start + point * width)
            .collect()
    }

    /// Gives where the lower end of what the choices leave is published.
    pub fn lower(self, choices: &[u8]) -> Bound {
        let last = choices.iter().rposition(|choice| *choice > 0);
        last.map_or(Bound::Start, |round| Bound::Point {
            round: round as u8,
            index: choices[round] - 1,
        })
    }

    /// Gives where the upper end of what the choices leave is published.
    pub fn upper(self, choices: &[u8]) -> Bound {
        let last = choices.iter().rposition(|choice| *choice < self.arity - 1);
        last.map_or(Bound::End, |round| Bound::Point {
            round: round as u8,
            index: choices[round],
        })
    }

    /// Gives where the lower end may be published at last, each with the choices that lead there.
    pub fn lowers(self) -> Vec<(Bound, Vec<Chosen>)> {
        self.bounds(Bound::Start, 0, 1)
    }

    /// Gives where the upper end may be published at last, each with the choices that lead there.
    pub fn uppers(self) -> Vec<(Bound, Vec<Chosen>)> {
        self.bounds(Bound::End, self.arity - 1, 0)
    }

    /// `stays` is the choice that leaves the end where it was, and `offset` what an index is below the choice.
    fn bounds(self, unmoved: Bound, stays: u8, offset: u8) -> Vec<(Bound, Vec<Chosen>)> {
        let unchanged = |from: u8| (from..self.rounds).map(move |round| (round, stays));
        let mut bounds = vec![(unmoved, unchanged(0).collect())];
        for round in 0..self.rounds {
            for index in 0..self.points() {
                let chosen = [(round, index + offset)].into_iter().chain(unchanged(round + 1));
                bounds.push((Bound::Point { round, index }, chosen.collect()));
            }
        }
        bounds
    }

    /// Gives where a position's value is published.
    pub fn bound(self, position: u64) -> Bound {
        if position == 0 {
            return Bound::Start;
        }
        if position == self.intervals() {
            return Bound::End;
        }
        let arity = u64::from(self.arity);
        let (mut rest, mut round) = (position, self.rounds - 1);
        while rest.is_multiple_of(arity) {
            rest /= arity;
            round -= 1;
        }
        Bound::Point {
            round,
            index: (rest % arity) as u8 - 1,
        }
    }

    /// Gives the choices that lead to the interval from this position on.
    pub fn choices(self, position: u64) -> Vec<u8> {
        let arity = u64::from(self.arity);
        let mut choices: Vec<u8> = (0..self.rounds)
            .scan(position, |rest, _| {
                let digit = *rest % arity;
                *rest /= arity;
                Some(digit as u8)
            })
            .collect();
        choices.reverse();
        choices
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Plays every game of a search and compares where ends are published with what was said there.
    #[test]
    fn every_end_is_where_it_is_said() {
        for (arity, rounds) in [(2, 4), (3, 3), (4, 3)] {
            let search = Search { arity, rounds };
            for position in 0..search.intervals() {
                let choices = search.choices(position);
                let mut published = BTreeMap::from([(0, Bound::Start), (search.intervals(), Bound::End)]);
                for round in 0..rounds {
                    for (index, at) in search.asked(&choices[..usize::from(round)]).iter().enumerate() {
                        let bound = Bound::Point {
                            round,
                            index: index as u8,
                        };
                        assert!(published.insert(*at, bound).is_none());
                        assert_eq!(search.bound(*at), bound);
                    }
                }
                assert_eq!(search.interval(&choices), (position, 1));
                let (lower, upper) = (published[&position], published[&(position + 1)]);
                assert_eq!((search.lower(&choices), search.upper(&choices)), (lower, upper));
                let met = |bounds: Vec<(Bound, Vec<Chosen>)>| {
                    let mut met = bounds.into_iter().filter(|(_, chosen)| {
                        chosen
                            .iter()
                            .all(|(round, option)| choices[usize::from(*round)] == *option)
                    });
                    let (bound, _) = met.next().unwrap();
                    assert!(met.next().is_none(), "one bound at a time");
                    bound
                };
                assert_eq!((met(search.lowers()), met(search.uppers())), (lower, upper));
            }
        }
    }
}
