//! Random programs against a plain model of OTP's rules.
//!
//! A failure prints the seed; `GREENROOM_MODEL_SEED=7 cargo test --test it model` replays it.

use std::collections::VecDeque;
use std::time::Duration;

use greenroom::testkit::Stepper;
use greenroom::{Addr, Intensity, Strategy};

use super::*;
use crate::support::{Numbers, close_the_books};

const NAMES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
const ALLOWED: usize = 2;
const WITHIN: u64 = 10;

/// The children of a supervisor that is always started again itself, and what was noted.
struct Model {
    strategy: Strategy,
    /// In order of their starting.
    children: Vec<(&'static str, Restart)>,
    /// When there were restarts, in seconds.
    restarts: VecDeque<u64>,
    now: u64,
    notes: Vec<String>,
}

impl Model {
    fn note(&mut self, name: &str, what: &str) {
        self.notes.push(format!("{name} {what}"));
    }

    /// A child's life has ended, abnormally or not.
    fn ended(&mut self, index: usize, abnormal: bool) {
        let (name, restart) = self.children[index];
        let comes_back = match restart {
            Restart::Permanent => true,
            Restart::Transient => abnormal,
            Restart::Temporary => false,
        };
        if !comes_back {
            self.note(name, "stopped");
            self.children.remove(index);
            return;
        }
        self.note(name, "restarting");
        let now = self.now;
        self.restarts.retain(|moment| now - moment <= WITHIN);
        self.restarts.push_back(now);
        if self.restarts.len() > ALLOWED {
            // The supervisor ends, and all begins anew.
            self.restarts.clear();
            self.restart_from(0, Some(index));
            return;
        }
        match self.strategy {
            Strategy::OneForAll => self.restart_from(0, Some(index)),
            Strategy::RestForOne => self.restart_from(index, Some(index)),
            _ => self.note(name, "restarted"),
        }
    }

    /// Stops these in reverse order, but for one that is down, and starts them in order.
    fn restart_from(&mut self, first: usize, down: Option<usize>) {
        for index in (first..self.children.len()).rev() {
            let (name, restart) = self.children[index];
            match restart {
                _ if down == Some(index) => {}
                Restart::Temporary => self.note(name, "stopped"),
                _ => self.note(name, "restarting"),
            }
        }
        let mut index = 0;
        self.children.retain(|(_, restart)| {
            index += 1;
            index <= first || *restart != Restart::Temporary
        });
        // What comes before `first` has not changed, so the others still begin there.
        for index in first..self.children.len() {
            let name = self.children[index].0;
            self.note(name, "restarted");
        }
    }
}

/// What was noted, without reasons and numbers.
fn steps(diary: &Diary) -> Vec<String> {
    let notes = diary.take();
    let steps = notes.iter().map(|note| {
        let step = note.split_once(':').map_or(&**note, |(step, _)| step);
        step.trim_end_matches(|c: char| c == ' ' || c.is_ascii_digit())
            .to_owned()
    });
    steps.collect()
}

fn run_a_program(seed: u64) {
    let stepper = Stepper::new(seed);
    let mut numbers = Numbers(seed);
    let diary = Diary::default();
    let strategies = [
        Strategy::OneForOne,
        Strategy::OneForAll,
        Strategy::RestForOne,
    ];
    let strategy = numbers.pick(&strategies);
    let mut model = Model {
        strategy,
        children: Vec::new(),
        restarts: VecDeque::new(),
        now: 0,
        notes: Vec::new(),
    };
    let intensity = Intensity::new(ALLOWED as u32, Duration::from_secs(WITHIN));
    let inner = stepper.system().supervisor(strategy).intensity(intensity);
    let outer = stepper.system().supervisor(Strategy::OneForOne);
    let outer = outer.intensity(Intensity::UNLIMITED);
    let (_outer, supervisor) = with_child(outer, inner.into_spec("inner"));
    let mut addresses: Vec<(&'static str, Addr<Member>)> = Vec::new();
    let mut program = Vec::new();
    for _ in 0..60 {
        let name = numbers.pick(&NAMES);
        let index = model.children.iter().position(|child| child.0 == name);
        let known = addresses.iter().rfind(|known| known.0 == name);
        let (operation, fate) = (numbers.below(8), numbers.below(5));
        program.push((name, operation, fate));
        match (operation, index, known) {
            (0..=2, None, _) => {
                let restart = numbers.pick(&RESTARTS);
                let child = Member::spec(name, &diary).restart(restart);
                let added = supervisor.add(child).wait().unwrap();
                addresses.push((name, added.expect("its id is free")));
                model.children.push((name, restart));
                model.note(name, "started");
            }
            (0..=4, Some(index), Some((_, child))) => {
                match fate {
                    0 => drop(child.try_send(to_panic())),
                    1 => drop(child.try_send(to_fail())),
                    2 => child.kill(),
                    3 => child.stop(),
                    _ => child.drain(),
                }
                if fate == 4 {
                    model.note(name, "stopped");
                    model.children.remove(index);
                } else {
                    model.ended(index, fate < 3);
                }
            }
            (5, Some(index), _) => {
                assert!(supervisor.remove(name).wait().unwrap().is_ok());
                model.note(name, "stopped");
                model.children.remove(index);
            }
            (6, Some(index), _) => {
                let restarted = supervisor.restart(name).wait().unwrap();
                let comes_back = model.children[index].1 != Restart::Temporary;
                assert_eq!(restarted.is_ok(), comes_back, "{program:?}");
                if comes_back {
                    model.note(name, "restarting");
                    model.note(name, "restarted");
                }
            }
            (7, ..) => {
                model.now += fate;
                stepper.advance(Duration::from_secs(fate));
            }
            (5 | 6, None, _) => assert!(supervisor.remove(name).wait().unwrap().is_err()),
            _ => {}
        }
        stepper.run();
        assert_eq!(
            steps(&diary),
            model.notes,
            "{strategy:?}, after {program:?}"
        );
        model.notes.clear();
        let listed = supervisor.list().wait().unwrap();
        let listed: Vec<_> = listed
            .iter()
            .map(|child| (&*child.id, child.restart))
            .collect();
        assert_eq!(listed, model.children, "{strategy:?}, after {program:?}");
        assert_eq!(supervisor.count().wait().unwrap().up, listed.len());
    }
    close_the_books(stepper.system());
}

#[test]
fn supervisors_do_what_a_plain_model_of_the_rules_does() {
    let seeds = match std::env::var("GREENROOM_MODEL_SEED") {
        Ok(seed) => seed
            .parse()
            .map(|seed| seed..seed + 1)
            .expect("it is a number"),
        Err(_) => 0..300,
    };
    for seed in seeds {
        let told = std::panic::catch_unwind(|| run_a_program(seed));
        if let Err(failure) = told {
            eprintln!("replay: GREENROOM_MODEL_SEED={seed} cargo test --test it model");
            std::panic::resume_unwind(failure);
        }
    }
}
