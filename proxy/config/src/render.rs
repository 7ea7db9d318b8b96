//! How problems are shown: as text like a compiler's, and as JSON.

use std::fmt;

use crate::problem::Problems;

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in self {
            writeln!(f, "{}", problem.message)?;
        }
        Ok(())
    }
}
