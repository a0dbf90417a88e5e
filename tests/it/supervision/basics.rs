use greenroom::testkit::Stepper;
use greenroom::{Backoff, Intensity, Restart, StopReason, StopTimeout, Strategy};
use std::time::Duration;

use super::*;

#[test]
fn a_child_that_panics_is_started_again_at_its_address() {
    let stepper = Stepper::new(1);
    let diary = Diary::default();
    let mut tree = stepper.system().supervisor(Strategy::OneForOne);
    let a = tree.child(Member::spec("a", &diary)).unwrap();
    let supervisor = tree.start().unwrap();
    assert_eq!(diary.take(), ["a started"]);
    a.send(Do::Panic).map_err(|e| e.without_message()).unwrap();
    a.send(Do::Nothing)
        .map_err(|e| e.without_message())
        .unwrap();
    stepper.run();
    assert_eq!(
        diary.take(),
        [
            "a restarting: it panicked: on request (at `it::supervision::Do`)",
            "a restarted 1: it panicked: on request",
            "a did nothing",
        ]
    );
    supervisor.stop();
    stepper.run();
    assert_eq!(diary.take(), ["a stopped: its parent ended"]);
    assert_eq!(supervisor.join().unwrap(), StopReason::Stopped);
    assert_eq!(a.join().unwrap(), StopReason::ParentEnded);
}

#[test]
fn too_many_restarts_end_the_tree_with_a_chain_of_reasons() {
    let stepper = Stepper::new(1);
    let diary = Diary::default();
    let mut inner = stepper.system().supervisor(Strategy::OneForOne);
    let a = inner.child(Member::spec("a", &diary)).unwrap();
    let b = inner.child(Member::spec("b", &diary)).unwrap();
    let mut tree = stepper
        .system()
        .supervisor(Strategy::OneForOne)
        .intensity(Intensity::new(1, Duration::from_secs(60)));
    tree.child(inner.into_spec("inner")).unwrap();
    let root = tree.start().unwrap();
    assert_eq!(diary.take(), ["a started", "b started"]);
    for _ in 0..2 {
        a.send(Do::Panic).map_err(|e| e.without_message()).unwrap();
        stepper.run();
    }
    b.send(Do::Nothing)
        .map_err(|e| e.without_message())
        .unwrap();
    stepper.run();
    println!("{:#?}", diary.take());
    for _ in 0..2 {
        a.send(Do::Fail).map_err(|e| e.without_message()).unwrap();
        stepper.run();
    }
    println!("{:#?}", diary.take());
    println!("{}", root.join().unwrap());
    println!("{}", a.join().unwrap());
}

#[test]
fn one_for_all() {
    let stepper = Stepper::new(1);
    let diary = Diary::default();
    let mut tree = stepper.system().supervisor(Strategy::OneForAll);
    let _a = tree.child(Member::spec("a", &diary)).unwrap();
    let b = tree
        .child(
            Member::spec("b", &diary)
                .backoff(Backoff::exponential(Duration::from_secs(2)).jitter(0.0)),
        )
        .unwrap();
    let _c = tree
        .child(Member::spec("c", &diary).restart(Restart::Temporary))
        .unwrap();
    let d = tree.child(Member::spec("d", &diary)).unwrap();
    let sup = tree.start().unwrap();
    diary.take();
    b.kill();
    stepper.run();
    println!("{:#?} {:?}", diary.take(), sup.list().wait());
    stepper.advance(Duration::from_secs(1));
    assert_eq!(diary.take().len(), 0);
    stepper.advance(Duration::from_secs(1));
    println!("{:#?}", diary.take());
    println!("{:?}", sup.restart("d").wait());
    println!("{:?}", sup.remove("a").wait());
    println!("{:?}", sup.add(Member::spec("e", &diary)).wait());
    println!(
        "{:#?} {:?} {:?}",
        diary.take(),
        sup.list().wait(),
        sup.count().wait()
    );
    let report = stepper.system().shutdown(Duration::from_secs(10));
    println!("{report} {:#?}", diary.take());
    assert!(d.is_stopped());
}
