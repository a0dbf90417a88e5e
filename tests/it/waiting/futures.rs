//! Futures that handlers wait for: of async libraries, of the crate, and badly behaved ones.

mod endings;

use std::cell::RefCell;
use std::future::{Future, poll_fn, ready};
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use futures_channel::oneshot;
use greenroom::{Addr, System, WaitError};
use tokio::runtime::Handle;

use super::{SECOND, is_waiting, parked_stacks};
use crate::support::{
    Act, Borrow, Debtor, Note, PATIENCE, Pay, Player, act, alone, eventually, in_a_pool, in_pools,
    in_time, pool, under_seeds,
};

/// Enters tokio's runtime around each poll, and looks that nobody else is in it.
fn in_tokio<F: Future>(handle: &Handle, future: F) -> impl Future<Output = F::Output> {
    let mut future = Box::pin(future);
    poll_fn(move |cx| {
        assert!(Handle::try_current().is_err(), "it is entered by nobody");
        let _entered = handle.enter();
        future.as_mut().poll(cx)
    })
}

fn tokio_runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(1).enable_all().build();
    runtime.expect("the machine has a thread for tokio")
}

/// Something that happens once, and whom to call then.
#[derive(Clone, Default)]
struct Event(Arc<Mutex<(bool, Vec<Waker>)>>);

impl Event {
    fn happen(&self) {
        let wakers = {
            let mut state = self.0.lock().unwrap();
            state.0 = true;
            std::mem::take(&mut state.1)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    fn poll(&self, waker: &Waker) -> Poll<()> {
        let mut state = self.0.lock().unwrap();
        if state.0 {
            return Poll::Ready(());
        }
        state.1.push(waker.clone());
        Poll::Pending
    }

    async fn happened(self) {
        poll_fn(|cx| self.poll(cx.waker())).await;
    }

    fn waiters(&self) -> usize {
        self.0.lock().unwrap().1.len()
    }
}

/// One actor in the pool, and one on a thread of its own.
fn pooled_and_alone(system: &System) -> [Addr<Player>; 2] {
    let alone = system.actor().spawn_thread(Player::default);
    [system.spawn(Player::default()), alone.unwrap()]
}

// Whose futures.

#[test]
fn a_timer_of_tokio_ends_the_waits_of_many_handlers() {
    let tokio = tokio_runtime();
    in_pools(|system| {
        let players: Vec<_> = (0..50).flat_map(|_| pooled_and_alone(system)).collect();
        let naps: Vec<_> = players
            .iter()
            .map(|player| {
                let handle = tokio.handle().clone();
                player.ask(act(move |_, ctx| {
                    ctx.wait(in_tokio(&handle, async {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }))
                }))
            })
            .collect();
        for nap in naps {
            assert_eq!(nap.wait_for(PATIENCE).unwrap(), Ok(()));
        }
    });
}

/// Sends back what it gets on so many connections.
fn echo_server(connections: usize) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port of the loopback");
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for _ in 0..connections {
            let (stream, _) = listener.accept().expect("a client");
            thread::spawn(move || std::io::copy(&mut &stream, &mut &stream));
        }
    });
    address
}

/// Sends these bytes, and reads as many.
async fn call(address: std::net::SocketAddr, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let stream = tokio::net::TcpStream::connect(address).await?;
    let mut answer = Vec::new();
    let mut written = 0;
    while answer.len() < bytes.len() {
        if written < bytes.len() {
            stream.writable().await?;
            written += stream.try_write(&bytes[written..]).unwrap_or(0);
        }
        stream.readable().await?;
        let mut part = [0; 100];
        if let Ok(len) = stream.try_read(&mut part) {
            answer.extend_from_slice(&part[..len]);
        }
    }
    Ok(answer)
}

#[test]
fn handlers_talk_through_connections_of_tokio() {
    let tokio = tokio_runtime();
    in_pools(|system| {
        let address = echo_server(20);
        let players: Vec<_> = (0..10).flat_map(|_| pooled_and_alone(system)).collect();
        let calls: Vec<_> = players
            .iter()
            .enumerate()
            .map(|(index, player)| {
                let handle = tokio.handle().clone();
                let bytes = vec![index as u8; 1000];
                let said = bytes.clone();
                let heard = player.ask(act(move |_, ctx| {
                    ctx.wait(in_tokio(&handle, call(address, &said)))
                }));
                (bytes, heard)
            })
            .collect();
        for (bytes, heard) in calls {
            assert_eq!(heard.wait_for(PATIENCE).unwrap().unwrap().unwrap(), bytes);
        }
    });
}

/// Has one actor wait for what another one sends through a foreign channel.
fn through_a_channel(receiver: &Addr<Player>, sender: &Addr<Player>, until_it_waits: impl Fn()) {
    let (tell, told) = oneshot::channel();
    let heard = receiver.ask(act(move |_, ctx| ctx.wait(told)));
    until_it_waits();
    sender
        .send(act(move |_, _| tell.send(7).expect("somebody listens")))
        .unwrap();
    assert_eq!(heard.wait_for(PATIENCE).unwrap(), Ok(Ok(7)));
    let (tell, told) = oneshot::channel::<u32>();
    let heard = receiver.ask(act(move |_, ctx| ctx.wait(told)));
    until_it_waits();
    sender.send(act(move |_, _| drop(tell))).unwrap();
    let heard = heard.wait_for(PATIENCE).unwrap();
    assert_eq!(heard, Ok(Err(oneshot::Canceled)));
}

#[test]
fn a_handler_waits_for_a_channel_of_another_crate() {
    in_pools(|system| {
        let sender = system.spawn(Player::default());
        for receiver in pooled_and_alone(system) {
            through_a_channel(&receiver, &sender, || {});
            through_a_channel(&receiver, &sender, || {
                eventually("it waits", || is_waiting(system, &receiver));
            });
        }
    });
    under_seeds(|stepper| {
        let [receiver, sender] = [0; 2].map(|_| stepper.system().spawn(Player::default()));
        through_a_channel(&receiver, &sender, || {});
        through_a_channel(&receiver, &sender, || {
            stepper.run();
            assert!(is_waiting(stepper.system(), &receiver));
        });
    });
}

/// Has a handler wait for the answer of another actor as for any future.
fn an_answer_as_a_future(system: &System) {
    let debtor = system.spawn(Debtor::default());
    let player = system.spawn(Player::default());
    let asked = debtor.clone();
    let answer = player.ask(act(move |_, ctx| {
        let late = ctx.wait(asked.ask(Borrow))?;
        let early = ctx.wait(ready(1))?;
        Ok::<_, WaitError>((late.expect("it is paid"), early))
    }));
    let mut paid = 0;
    while paid == 0 {
        paid = debtor.ask(Pay(42)).wait_for(PATIENCE).unwrap();
    }
    assert_eq!(answer.wait_for(PATIENCE).unwrap(), Ok((42, 1)));
}

#[test]
fn a_handler_waits_for_an_answer_as_for_any_future() {
    in_pools(an_answer_as_a_future);
    under_seeds(|stepper| an_answer_as_a_future(stepper.system()));
}

// What a future may be.

#[test]
fn a_future_that_cannot_be_sent_is_polled_on_the_thread_of_its_handler() {
    in_pools(|system| {
        for player in pooled_and_alone(system) {
            let event = Event::default();
            let happens = event.clone();
            let polled = player.ask(act(move |_, ctx| {
                let threads = Rc::new(RefCell::new(vec![thread::current().id()]));
                let seen = threads.clone();
                let mut happened = Box::pin(happens.happened());
                ctx.wait(poll_fn(move |cx| {
                    seen.borrow_mut().push(thread::current().id());
                    happened.as_mut().poll(cx)
                }))
                .expect("nobody ends the wait");
                let threads = threads.borrow();
                threads.iter().all(|id| *id == threads[0])
            }));
            eventually("it waits", || event.waiters() == 1);
            event.happen();
            assert!(polled.wait_for(PATIENCE).unwrap());
        }
    });
}

#[test]
fn a_future_may_borrow_from_its_actor_across_the_wait() {
    under_seeds(|stepper| {
        let debtor = stepper.system().spawn(Debtor::default());
        let player = stepper.system().spawn(Player::default());
        let asked = debtor.clone();
        player
            .send(act(move |player, ctx| {
                let now = ctx.now();
                let notes = &mut player.notes;
                let noted = ctx.wait(async {
                    notes.push((now, 1));
                    let owed = asked.ask(Borrow).await.expect("it is paid");
                    notes.push((now, owed));
                    notes.len()
                });
                assert_eq!(noted, Ok(2));
            }))
            .unwrap();
        stepper.run();
        assert!(is_waiting(stepper.system(), &player));
        debtor.send(Pay(9)).unwrap();
        let noted = player.ask(act(|player, _| {
            let numbers = player.notes.iter().map(|(_, number)| *number);
            numbers.collect::<Vec<_>>()
        }));
        assert_eq!(noted.wait().unwrap(), [1, 9]);
    });
}

#[test]
fn a_future_that_was_interrupted_may_be_waited_for_elsewhere() {
    under_seeds(|stepper| {
        let (tell, told) = oneshot::channel();
        let first = stepper.system().spawn(Player::default());
        let given_up = first.ask(act(move |_, ctx| {
            let mut told = told;
            assert_eq!(ctx.wait(&mut told), Err(WaitError::Interrupted));
            told
        }));
        stepper.run();
        first.kill();
        let told = given_up.wait().unwrap();
        let second = stepper.system().spawn(Player::default());
        let heard = second.ask(act(move |_, ctx| ctx.wait(told)));
        stepper.run();
        tell.send(5).expect("somebody listens");
        assert_eq!(heard.wait().unwrap(), Ok(Ok(5)));
    });
}

// Many, and greedy ones.

#[test]
fn ten_thousand_handlers_wait_for_one_event() {
    alone(|| {
        let system = pool(2);
        let event = Event::default();
        let woken = Arc::new(AtomicUsize::new(0));
        let waiters: Vec<_> = (0..10_000)
            .map(|_| {
                let (event, woken) = (event.clone(), woken.clone());
                let player = system.spawn(Player::default());
                let wait = act(move |_, ctx| {
                    ctx.wait(event.happened()).expect("nobody ends the wait");
                    woken.fetch_add(1, SeqCst);
                });
                player.send(wait).expect("there is room");
                player
            })
            .collect();
        eventually("all wait", || parked_stacks(&system) == 10_000);
        event.happen();
        eventually("all go on", || woken.load(SeqCst) == 10_000);
        drop(waiters);
        assert!(in_time(move || system.shutdown(PATIENCE)).is_clean());
    });
}

/// Wakes itself in each poll until the flag is set.
fn until_set(flag: &AtomicBool) -> impl Future<Output = ()> {
    poll_fn(|cx| {
        if flag.load(SeqCst) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

#[test]
fn futures_that_wake_themselves_let_the_other_actors_of_their_worker_run() {
    in_a_pool(1, |system| {
        let flag = Arc::new(AtomicBool::new(false));
        let greedy: Vec<_> = (0..40).map(|_| system.spawn(Player::default())).collect();
        let ends: Vec<_> = greedy
            .iter()
            .map(|player| {
                let flag = flag.clone();
                player.ask(act(move |_, ctx| ctx.wait(until_set(&flag))))
            })
            .collect();
        // Messages that come later are handled, and a handler that waited goes on.
        let echo = system.spawn(Player::default());
        let player = system.spawn(Player::default());
        let asked = player.ask(act(move |_, _| {
            (0..100).all(|_| echo.ask(Note(0)).wait().is_ok())
        }));
        assert!(asked.wait_for(PATIENCE).unwrap());
        assert!(ends.iter().all(|end| !end.is_ready()));
        player
            .send(act(move |_, _| flag.store(true, SeqCst)))
            .unwrap();
        for end in ends {
            assert_eq!(end.wait_for(PATIENCE).unwrap(), Ok(()));
        }
    });
}

#[test]
fn a_future_that_wakes_itself_is_stepped_as_any_other_that_is_ready() {
    under_seeds(|stepper| {
        let flag = Arc::new(AtomicBool::new(false));
        let seen = flag.clone();
        let greedy = stepper.system().spawn(Player::default());
        let end = greedy.ask(act(move |_, ctx| ctx.wait(until_set(&seen))));
        let player = stepper.system().spawn(Player::default());
        for number in 0..20 {
            player.ask(Note(number)).wait().unwrap();
        }
        assert!(!end.is_ready());
        player
            .send(act(move |_, _| flag.store(true, SeqCst)))
            .unwrap();
        assert_eq!(end.wait().unwrap(), Ok(()));
        assert_eq!(stepper.run(), 0, "nothing is left to do");
    });
}

// Waits inside of a poll.

/// A future that first looks for an event, and in the same poll waits for an answer of somebody
/// who lets the event happen meanwhile.
fn waits_in_its_poll(teller: Addr<Player>) -> Act<(Result<(), WaitError>, u64)> {
    act(move |_, ctx| {
        let event = Event::default();
        let mut answers = 0;
        let end = ctx.wait(poll_fn(|cx| {
            let polled = event.poll(cx.waker());
            if polled.is_pending() {
                let happens = event.clone();
                let told = teller.ask(act(move |_, _| {
                    happens.happen();
                    1
                }));
                answers += told.wait().expect("an answer");
            }
            polled
        }));
        (end, answers)
    })
}

#[test]
fn a_poll_that_waits_itself_loses_no_call_that_comes_meanwhile() {
    in_pools(|system| {
        let teller = system.spawn(Player::default());
        for player in pooled_and_alone(system) {
            for _ in 0..20 {
                let end = player.ask(waits_in_its_poll(teller.clone()));
                assert_eq!(end.wait_for(PATIENCE).unwrap(), (Ok(()), 1));
            }
        }
    });
    under_seeds(|stepper| {
        let [player, teller] = [0; 2].map(|_| stepper.system().spawn(Player::default()));
        let end = player.ask(waits_in_its_poll(teller));
        assert_eq!(end.wait().unwrap(), (Ok(()), 1));
    });
}

#[test]
fn a_kill_ends_a_wait_after_a_poll_that_waited_itself() {
    under_seeds(|stepper| {
        let [player, echo] = [0; 2].map(|_| stepper.system().spawn(Player::default()));
        let end = player.ask(act(move |_, ctx| {
            ctx.wait(poll_fn(|_| {
                echo.ask(Note(1)).wait().expect("an answer");
                Poll::<()>::Pending
            }))
        }));
        stepper.run();
        assert!(is_waiting(stepper.system(), &player));
        player.kill();
        assert_eq!(end.wait().unwrap(), Err(WaitError::Interrupted));
    });
}

// Beside a stepper.

#[test]
fn a_call_by_another_thread_is_answered_by_the_next_steps() {
    under_seeds(|stepper| {
        let (tell, told) = oneshot::channel();
        let player = stepper.system().spawn(Player::default());
        let heard = player.ask(act(move |_, ctx| ctx.wait(told)));
        stepper.run();
        let teller = thread::spawn(move || tell.send(8));
        teller.join().unwrap().expect("somebody listens");
        stepper.run();
        assert!(heard.is_ready());
        assert_eq!(heard.wait().unwrap(), Ok(Ok(8)));
        // A timer of the crate and a future of another one do not disturb each other.
        let begun = stepper.clock().now();
        let slept = player.ask(act(|_, ctx| {
            ctx.sleep(SECOND)?;
            ctx.wait(ready(()))
        }));
        assert_eq!(slept.wait().unwrap(), Ok(()));
        assert_eq!(stepper.clock().now() - begun, SECOND);
    });
}
