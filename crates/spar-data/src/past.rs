//! Whether a recording goes on past its terminals.
//!
//! Usually a terminal ends an episode, and the row after it is another one's first. The
//! recorder of antmaze did not stop where the goal was reached: the ant stays there, and every
//! row of its stay is terminal, because rewards and terminals were written afterwards. Cut at
//! terminals, such a file falls apart into hundreds of episodes of one row, and what ranks or
//! sums trajectories sees those. D4RL cuts them by `timeouts`.

use spar_core::EnvId;

use crate::successors::{Compared, Flags};

/// Environments whose recorder went on at the goal, by the beginning of their names.
const ANTMAZE: &str = "antmaze-";
/// Metres that an ant cannot cover in the tenth of a second between two rows, and less than
/// lies between a goal and where episodes start.
const LEAP: f32 = 1.0;

/// Whether the flags alone show that the recording goes on past terminals: terminals come in
/// runs, at least half of them followed by another, in a file that flags cuts as well. What
/// ended in one step cannot end in the next.
pub(crate) fn runs(flags: Flags<'_>) -> bool {
    let Some(timeouts) = flags.timeouts.filter(|cuts| cuts.contains(&true)) else {
        return false;
    };
    let count = flags.terminals.iter().filter(|&&flag| flag).count();
    let pairs = flags.terminals.windows(2).zip(timeouts);
    let followed = pairs.filter(|(pair, cut)| pair[0] && pair[1] && !**cut);
    count > 0 && 2 * followed.count() >= count
}

/// Whether recorded successors show it: at least half of the terminals are followed by their
/// own successor, in a file that says in another way where episodes are cut.
pub(crate) fn shown(flags: Flags<'_>, compared: &Compared) -> bool {
    let cuts = flags.timeouts.is_some_and(|cuts| cuts.contains(&true));
    let count = flags.terminals.iter().filter(|&&flag| flag).count();
    let told = cuts || !compared.breaks.stops.is_empty();
    told && count > 0 && 2 * compared.followed >= count
}

/// [`runs`], or, in data of antmaze, whose file `umaze-diverse` has single terminals, at least
/// half of the terminals are followed by a row in the same place. `observations` are
/// `[rows, width]`.
pub(crate) fn goes_on(
    flags: Flags<'_>,
    env: Option<EnvId>,
    observations: &[f32],
    width: usize,
) -> bool {
    if runs(flags) {
        return true;
    }
    let antmaze = env.is_some_and(|env| env.name().starts_with(ANTMAZE));
    let Some(timeouts) = flags.timeouts.filter(|cuts| cuts.contains(&true)) else {
        return false;
    };
    if !antmaze || width < 2 {
        return false;
    }
    let place = |row: usize| [observations[row * width], observations[row * width + 1]];
    let (mut count, mut stays) = (0, 0);
    for row in (0..timeouts.len() - 1).filter(|&row| flags.terminals[row] && !timeouts[row]) {
        let ([x, y], [then_x, then_y]) = (place(row), place(row + 1));
        count += 1;
        stays += usize::from((then_x - x).hypot(then_y - y) < LEAP);
    }
    count > 0 && 2 * stays >= count
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{
        dataset::{Dataset, Steps},
        whole::Beside,
    };

    fn flags<'a>(terminals: &'a [bool], timeouts: &'a [bool]) -> Flags<'a> {
        Flags {
            terminals,
            timeouts: Some(timeouts),
        }
    }

    #[test]
    fn terminals_in_runs_are_told_from_ends() {
        let at = |rows: &[usize]| (0..8).map(|i| rows.contains(&i)).collect::<Vec<_>>();
        let cut = at(&[3, 7]);
        assert!(runs(flags(&at(&[1, 2, 3, 5, 6]), &cut)));
        assert!(runs(flags(&at(&[1, 2]), &cut)), "the shortest run");
        assert!(!runs(flags(&at(&[1, 5]), &cut)), "single ones end");
        // Two episodes end beside each other, one is cut in between.
        assert!(!runs(flags(&at(&[3, 4]), &cut)));
        assert!(!runs(flags(&at(&[]), &cut)));
        // Without a cut there is nothing else to tell episodes by.
        assert!(!runs(flags(&at(&[1, 2, 3]), &at(&[]))));
        let terminals = at(&[1, 2, 3]);
        let none = Flags {
            terminals: &terminals,
            timeouts: None,
        };
        assert!(!runs(none));
    }

    /// Episodes of one step beside each other are told from a stay by their successors.
    #[test]
    fn recorded_successors_tell_short_episodes_from_stays() {
        let steps = |terminals: [bool; 5]| Steps {
            observations: (0..5u8).map(f32::from).collect(),
            actions: vec![0.0; 5],
            rewards: vec![1.0; 5],
            terminals: terminals.to_vec(),
            timeouts: vec![false, false, false, false, true],
        };
        let of = |terminals, next: [f32; 5]| {
            let beside = Beside {
                timeouts: true,
                next_observations: Some(next.to_vec()),
                ..Beside::default()
            };
            Dataset::of_arrays("mine", 1, 1, steps(terminals), beside).unwrap()
        };
        let stay = of([false, true, true, true, false], [1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!((stay.past_terminals, stay.episodes(9).count()), (true, 1));
        assert_eq!(stay.returns(9), [2.0]);
        // One is enough, which flags alone do not show.
        let single = of(
            [false, true, false, false, false],
            [1.0, 2.0, 3.0, 4.0, 5.0],
        );
        assert_eq!(single.episodes(9).count(), 1);
        let ends = of([false, true, true, true, false], [1.0, 9.0, 9.0, 9.0, 5.0]);
        assert_eq!((ends.past_terminals, ends.episodes(9).count()), (false, 4));
    }

    #[test]
    fn single_terminals_of_antmaze_end_where_the_ant_is_put_elsewhere() {
        let env: EnvId = "antmaze-umaze".parse().unwrap();
        let (terminals, cuts) = ([false, true, false, false], [false, false, false, true]);
        let seen = flags(&terminals, &cuts);
        // `[rows, 2]`: the place alone.
        let stays = [0.0, 8.0, 0.1, 8.4, 0.2, 8.8, 0.3, 9.0];
        let reset = [0.0, 8.0, 0.1, 8.4, 0.0, 0.0, 0.1, 0.2];
        assert!(goes_on(seen, Some(env), &stays, 2));
        assert!(!goes_on(seen, Some(env), &reset, 2));
        assert!(!goes_on(seen, None, &stays, 2));
        assert!(!goes_on(seen, Some(EnvId::HOPPER), &stays, 2));
    }
}
