//! Where a request may go on inside the proxy, made ready: the steps of `try` and the pages of
//! errors.

use crate::facts::Facts;
use crate::route_action::{ErrorPage, TryStep};
use crate::status_match::StatusMatch;
use crate::template::{Compiled, Scope, TemplateError};

/// Where a request goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum To {
    /// Whichever route takes this path and query.
    Path(String),
    /// The route of this name.
    Route(String),
}

/// One step of `try`, for one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A path, and whether it names a directory.
    File(String, bool),
    To(To),
    Status(u16),
}

#[derive(Clone, Debug)]
enum Place {
    Path(Compiled),
    Route(String),
}

impl Place {
    fn render(&self, facts: &Facts<'_>) -> To {
        match self {
            Place::Path(path) => To::Path(path.render(facts)),
            Place::Route(name) => To::Route(name.clone()),
        }
    }
}

/// A page that stands in for errors.
#[derive(Clone, Debug)]
pub struct Page {
    statuses: Vec<StatusMatch>,
    place: Place,
    /// Status sent; without it, the error's own.
    pub status: Option<u16>,
    /// The status of the page itself is sent.
    pub own_status: bool,
    /// Its own failure is answered, not the error it stands for.
    pub own_failures: bool,
    upstream_errors: bool,
}

impl Page {
    /// `None` for a page without a place, which validation refuses.
    pub(crate) fn new(page: &ErrorPage, scope: &Scope<'_>) -> Result<Option<Page>, TemplateError> {
        let place = match (&page.path, &page.route) {
            (Some(path), _) => Place::Path(Compiled::new(&path.0, scope)?),
            (None, Some(name)) => Place::Route(name.clone()),
            (None, None) => return Ok(None),
        };
        Ok(Some(Page {
            statuses: page.statuses.clone(),
            place,
            status: page.status,
            own_status: page.own_status,
            own_failures: page.own_failures,
            upstream_errors: page.upstream_errors,
        }))
    }

    pub fn takes(&self, status: u16, is_upstreams: bool) -> bool {
        (self.upstream_errors || !is_upstreams) && self.statuses.iter().any(|s| s.takes(status))
    }

    pub fn takes_upstream_errors(&self) -> bool {
        self.upstream_errors
    }

    pub fn render(&self, facts: &Facts<'_>) -> To {
        self.place.render(facts)
    }
}

/// The steps of a route.
#[derive(Clone, Debug, Default)]
pub struct Tries(Vec<Try>);

#[derive(Clone, Debug)]
enum Try {
    File(Compiled, bool),
    Place(Place),
    Status(u16),
}

impl Tries {
    pub(crate) fn new(steps: &[TryStep], scope: &Scope<'_>) -> Result<Tries, TemplateError> {
        let step = |step: &TryStep| {
            Ok(match step {
                TryStep::File(file) => {
                    Try::File(Compiled::new(&file.0, scope)?, file.0.ends_with('/'))
                }
                TryStep::Path(path) => Try::Place(Place::Path(Compiled::new(&path.0, scope)?)),
                TryStep::Route(name) => Try::Place(Place::Route(name.clone())),
                TryStep::Status(status) => Try::Status(*status),
            })
        };
        steps.iter().map(step).collect::<Result<_, _>>().map(Tries)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn render(&self, facts: &Facts<'_>) -> Vec<Step> {
        let step = |step: &Try| match step {
            Try::File(file, is_directory) => Step::File(file.render(facts), *is_directory),
            Try::Place(place) => Step::To(place.render(facts)),
            Try::Status(status) => Step::Status(*status),
        };
        self.0.iter().map(step).collect()
    }
}
