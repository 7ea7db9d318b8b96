//! Who may change things through the admin API: bearer tokens, each in a file of its own
//! (RFC 6750 section 2.1).

use std::io;
use std::path::PathBuf;

use http::{HeaderValue, StatusCode};
use proxy_config::admin::{Admin, AdminRole};
use subtle::ConstantTimeEq as _;
use thiserror::Error;

/// Shorter tokens can be guessed.
const TOKEN_BYTES_MIN: usize = 16;
/// Files that are longer hold something else.
const FILE_BYTES_MAX: usize = 4096;

/// Why the tokens of a document cannot be used.
#[derive(Debug, Error)]
pub enum TokenFault {
    #[error("the token `{name}` cannot be read from {path}: {error}", path = path.display())]
    Read { name: String, path: PathBuf, error: io::Error },
    #[error(
        "the token `{name}` in {path} is none: put {TOKEN_BYTES_MIN} characters or more, without \
         spaces, on one line",
        path = path.display()
    )]
    NoToken { name: String, path: PathBuf },
}

/// Why somebody may not change anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    #[error("nobody may change anything: the document has no `admin.tokens`")]
    NoTokens,
    #[error("send a token of `admin.tokens`: `Authorization: Bearer TOKEN`")]
    Token,
    #[error("this token's role is viewer; changes take an operator")]
    Role,
}

impl Refusal {
    /// The label of the metric.
    pub fn name(self) -> &'static str {
        match self {
            Refusal::NoTokens => "no_tokens",
            Refusal::Token => "token",
            Refusal::Role => "role",
        }
    }

    pub fn status(self) -> StatusCode {
        match self {
            Refusal::NoTokens | Refusal::Role => StatusCode::FORBIDDEN,
            Refusal::Token => StatusCode::UNAUTHORIZED,
        }
    }
}

struct Token {
    name: String,
    secret: String,
    role: AdminRole,
}

/// The tokens of a document, read from their files.
#[derive(Default)]
pub struct Tokens(Vec<Token>);

impl Tokens {
    /// Blocks on files.
    pub fn read(admin: &Admin) -> Result<Tokens, TokenFault> {
        let read = admin.tokens.iter().map(|token| {
            let (name, path) = (token.name.clone(), token.file.clone());
            let secret = read_token(&name, path)?;
            Ok(Token { name, secret, role: token.role })
        });
        read.collect::<Result<_, _>>().map(Tokens)
    }

    /// The name of the operator these credentials belong to.
    pub fn operator(&self, credentials: Option<&HeaderValue>) -> Result<String, Refusal> {
        let token = self.holder(credentials)?;
        if token.role == AdminRole::Viewer { Err(Refusal::Role) } else { Ok(token.name.clone()) }
    }

    /// The name of whoever these credentials belong to.
    pub fn viewer(&self, credentials: Option<&HeaderValue>) -> Result<String, Refusal> {
        self.holder(credentials).map(|token| token.name.clone())
    }

    fn holder(&self, credentials: Option<&HeaderValue>) -> Result<&Token, Refusal> {
        if self.0.is_empty() {
            return Err(Refusal::NoTokens);
        }
        let given = credentials.and_then(|value| bearer(value.as_bytes())).ok_or(Refusal::Token)?;
        // All are compared, in a time that tells nothing about them.
        let mut found = None;
        for token in &self.0 {
            if bool::from(token.secret.as_bytes().ct_eq(given)) {
                found = Some(token);
            }
        }
        found.ok_or(Refusal::Token)
    }
}

/// The token in a file.
pub fn read_token(name: &str, path: PathBuf) -> Result<String, TokenFault> {
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) => return Err(TokenFault::Read { name: name.to_owned(), path, error }),
    };
    let token = String::from_utf8(text).ok().map(|text| text.trim().to_owned());
    let is_one = |token: &String| {
        (TOKEN_BYTES_MIN..FILE_BYTES_MAX).contains(&token.len())
            && token.bytes().all(|byte| byte.is_ascii_graphic())
    };
    token.filter(is_one).ok_or(TokenFault::NoToken { name: name.to_owned(), path })
}

fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proxy_config::admin::AdminToken;

    fn tokens(given: &[(&str, &str, AdminRole)]) -> Result<Tokens, TokenFault> {
        let dir = tempfile::tempdir().unwrap();
        let tokens = given.iter().map(|(name, text, role)| {
            let file = dir.path().join(name);
            std::fs::write(&file, text).unwrap();
            AdminToken { name: (*name).to_owned(), file, role: *role }
        });
        Tokens::read(&Admin { tokens: tokens.collect(), ..Admin::default() })
    }

    #[test]
    fn only_operators_may_change_anything() {
        let tokens = tokens(&[
            ("ops", "operator-operator\n", AdminRole::Operator),
            ("view", "viewer-viewer-viewer", AdminRole::Viewer),
        ])
        .unwrap();
        let asked = |text: &str| tokens.operator(Some(&HeaderValue::from_str(text).unwrap()));
        assert_eq!(asked("bearer operator-operator"), Ok("ops".to_owned()));
        assert_eq!(asked("Bearer viewer-viewer-viewer"), Err(Refusal::Role));
        for wrong in
            ["Bearer operator-operato", "Bearer ", "Bearer", "operator-operator", "Basic x"]
        {
            assert_eq!(asked(wrong), Err(Refusal::Token), "{wrong}");
        }
        assert_eq!(tokens.operator(None), Err(Refusal::Token));
        assert_eq!(Tokens::default().operator(None), Err(Refusal::NoTokens));
    }

    #[test]
    fn files_without_a_token_are_refused() {
        for text in ["", "\n", "short", "two words that are long", "nul\0nul-nul-nul-nul"] {
            let read = tokens(&[("ops", text, AdminRole::Operator)]);
            assert!(matches!(read, Err(TokenFault::NoToken { .. })), "{text}");
        }
        let missing = read_token("ops", "/nowhere/token".into());
        assert!(matches!(missing, Err(TokenFault::Read { .. })));
    }
}
