//! Why a configuration cannot be put into force.

use thiserror::Error;

use crate::admin::tokens::TokenFault;
use crate::listen::BindFault;
use crate::logs::LogFault;
use crate::protected::PathFault;
use crate::route::RouteFault;
use crate::tls::TlsFault;

#[derive(Debug, Error)]
pub enum Unfit {
    #[error(transparent)]
    Log(#[from] LogFault),
    #[error(transparent)]
    Bind(#[from] BindFault),
    #[error(transparent)]
    Tls(#[from] TlsFault),
    #[error(transparent)]
    Route(#[from] RouteFault),
    #[error(transparent)]
    Token(#[from] TokenFault),
    #[error(transparent)]
    Path(#[from] PathFault),
}
