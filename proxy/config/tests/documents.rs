//! Documents and what is said about them, held beside them. `UPDATE=1 cargo test -p proxy-config`
//! writes the expected texts anew; read the difference before committing it.

use std::path::{Path, PathBuf};

use proxy_config::{Config, Problems, Source};

fn documents(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
    let mut documents: Vec<PathBuf> = std::fs::read_dir(&folder)
        .expect("the folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    documents.sort();
    documents
}

/// Named by the file alone, so that expected texts do not depend on where the repository is.
fn source(path: &Path) -> Source {
    let name = path.file_name().expect("a name").to_string_lossy().into_owned();
    Source::new(name, std::fs::read_to_string(path).expect("readable text"))
}

fn hold_against(path: &Path, found: &str, differences: &mut Vec<String>) {
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, found).expect("writable");
        return;
    }
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    if expected != found {
        differences
            .push(format!("{}:\n--- expected\n{expected}\n--- found\n{found}", path.display()));
    }
}

#[test]
fn every_malformed_document_is_answered_at_its_place() {
    let documents = documents("malformed");
    assert!(documents.len() >= 50, "only {} malformed documents", documents.len());
    let mut differences = Vec::new();
    for path in documents {
        let Err(problems) = Config::load(source(&path)) else {
            panic!("{} has no problem", path.display());
        };
        assert_is_placed(&path, &problems);
        hold_against(&path.with_extension("txt"), &problems.to_string(), &mut differences);
    }
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
}

fn assert_is_placed(path: &Path, problems: &Problems) {
    assert!(!problems.is_empty(), "{}: an error without a problem", path.display());
    for problem in problems {
        let span = problem.span.unwrap_or_else(|| {
            panic!("{}: `{}` has no place", path.display(), problem.message);
        });
        assert!(span.line > 0 && span.column > 0, "{}: {problem:?}", path.display());
        let jargon = ["struct ", "enum ", "variant", "deserial", "invalid type", "u32", "Option"];
        for word in jargon {
            assert!(!problem.message.contains(word), "{}: {}", path.display(), problem.message);
        }
    }
    let json = problems.to_json();
    let listed = json["problems"].as_array().expect("a list");
    assert_eq!(listed.len(), problems.len());
    assert!(listed.iter().all(|problem| problem["line"].as_u64().is_some_and(|line| line > 0)));
}

#[test]
fn every_valid_document_has_the_effect_beside_it_and_loads_back_equal() {
    let documents = documents("valid");
    assert!(documents.len() >= 6, "only {} valid documents", documents.len());
    let mut differences = Vec::new();
    for path in documents {
        let config = Config::load(source(&path)).unwrap_or_else(|problems| panic!("{problems}"));
        let effective = config.to_yaml();
        let again = Config::load(Source::new("effective.yaml", effective.clone()))
            .unwrap_or_else(|problems| panic!("{}: {problems}", path.display()));
        assert_eq!(again, config, "{}", path.display());
        hold_against(&path.with_extension("effective.txt"), &effective, &mut differences);
    }
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
}
