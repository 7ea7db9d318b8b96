//! Steps: what a route does to a request before anything else is decided on it, in order:
//! variables set, the path rewritten, an answer given, each only when its conditions hold.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::link_check::CheckLink;
use crate::pattern::{Regex, Template};
use crate::route_action::{Redirect, Respond};

/// What is done when all conditions hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Conditions, all of which must hold; without one, it is always done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub when: Vec<Condition>,
    /// What is done, in this order.
    pub then: Vec<Action>,
}

/// A condition on text with variables.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// The text looked at, such as `$header_user_agent`.
    pub of: Template,
    /// How it must be; without it, neither empty nor `0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is: Option<ConditionTest>,
    /// `true` turns the condition around.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub not: bool,
}

/// How a text must be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConditionTest {
    /// The same as this text, case counts.
    Equals(Template),
    /// A regular expression finds a match in it; captures are `$1` or `$name` from here on.
    Regex(Regex),
    /// It names something on this machine.
    Path(PathKind),
}

/// What a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PathKind {
    File,
    Directory,
    Anything,
    Executable,
}

/// One thing done to a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Gives a variable a value; it is `$NAME` in all that follows, and empty before.
    Set(SetVariable),
    /// Checks a link that was signed for nginx's `secure_link`, and sets a variable to what it is worth.
    CheckLink(CheckLink),
    /// Changes path and query, or redirects, when an expression finds a match in the path.
    Rewrite(RewriteStep),
    /// Answers.
    Respond(Respond),
    /// Sends the client elsewhere.
    Redirect(Redirect),
    /// Goes on as the route of this name, when the steps are done.
    Route(String),
    /// Ends the steps; the request stays on this route, whatever its path is now.
    Stop,
    /// Closes the connection without an answer.
    Close,
}

impl Action {
    /// The variables it sets.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        let (first, second) = match self {
            Action::Set(set) => (Some(set.name.as_str()), None),
            Action::CheckLink(check) => (Some(check.name.as_str()), check.expires.as_deref()),
            _ => (None, None),
        };
        first.into_iter().chain(second)
    }
}

/// A variable and its value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetVariable {
    /// Name, without the dollar sign.
    pub name: String,
    /// Value; may use the variable itself.
    pub to: Template,
}

/// A rewrite as one step of several.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RewriteStep {
    /// What to find in the path.
    pub find: Regex,
    /// The path in its place. A query in it goes before the request's own; with a `?` at the end
    /// the request's own is dropped.
    pub to: Template,
    /// Status with which the client is sent there; without it, the request goes on with that path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect: Option<u16>,
    /// What follows when it has found something.
    #[serde(default)]
    pub after: AfterRewrite,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AfterRewrite {
    /// The next step; after the last one, a route is looked for with the new path: among all that have an action, or,
    /// where this route has none, among those after it.
    #[default]
    GoOn,
    /// The same at once.
    Again,
    /// The steps end, and the request stays on this route.
    Stay,
}
