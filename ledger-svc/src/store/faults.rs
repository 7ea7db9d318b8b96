//! Where the simulation lets a batch fail. Outside of unit tests nothing ever fails here.

use super::error::StoreError;

/// Points of a batch at which the database, or the way to it, may give up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Begin,
    Fence,
    LookUp,
    Insert,
    /// Before it is done.
    Commit,
    /// Done, and the answer lost.
    Committed,
}

#[cfg(not(test))]
#[expect(clippy::unnecessary_wraps, reason = "it may fail in the simulation")]
pub fn may_fail(_: Step) -> Result<(), StoreError> {
    Ok(())
}

#[cfg(test)]
pub fn may_fail(step: Step) -> Result<(), StoreError> {
    let fails = simulated::FAILS.with_borrow_mut(|fails| fails.as_mut().is_some_and(|f| f(step)));
    if fails { Err(StoreError::Engine(format!("simulated at {step:?}"))) } else { Ok(()) }
}

#[cfg(test)]
pub mod simulated {
    use std::cell::RefCell;

    use super::Step;

    type Fails = Box<dyn FnMut(Step) -> bool>;

    thread_local! {
        /// What decides, on the thread of the simulation.
        pub static FAILS: RefCell<Option<Fails>> = const { RefCell::new(None) };
    }

    pub fn fail(fails: impl FnMut(Step) -> bool + 'static) {
        FAILS.set(Some(Box::new(fails)));
    }

    pub fn stop_failing() {
        FAILS.set(None);
    }
}
