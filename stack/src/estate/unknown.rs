//! What the file names and Forebay does not know: regions, families of instances, versions, runtimes. Such lists
//! age, so nothing is refused by them: it is said, and AWS has the last word.

use crate::environment::Estate;
use crate::environment::aws::{Database, Engine};

/// Of when the lists are. They were written by hand from AWS's pages.
const OF: &str = "2025-11";

/// <https://docs.aws.amazon.com/global-infrastructure/latest/regions/aws-regions.html>
const REGIONS: [&str; 34] = [
    "af-south-1",
    "ap-east-1",
    "ap-east-2",
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-south-1",
    "ap-south-2",
    "ap-southeast-1",
    "ap-southeast-2",
    "ap-southeast-3",
    "ap-southeast-4",
    "ap-southeast-5",
    "ap-southeast-6",
    "ap-southeast-7",
    "ca-central-1",
    "ca-west-1",
    "eu-central-1",
    "eu-central-2",
    "eu-north-1",
    "eu-south-1",
    "eu-south-2",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "il-central-1",
    "me-central-1",
    "me-south-1",
    "mx-central-1",
    "sa-east-1",
    "us-east-1",
    "us-east-2",
    "us-west-1",
    "us-west-2",
];

/// <https://docs.aws.amazon.com/ec2/latest/instancetypes/instance-types.html>
const OF_EC2: &str = "t2 t3 t3a t4g \
    m4 m5 m5a m5ad m5d m5dn m5n m5zn m6a m6g m6gd m6i m6id m6idn m6in m7a m7g m7gd m7i m7i-flex \
    m8a m8g m8gb m8gd m8gn m8i m8i-flex m8id m8azn \
    c4 c5 c5a c5ad c5d c5n c6a c6g c6gd c6gn c6i c6id c6in c7a c7g c7gd c7gn c7i c7i-flex \
    c8a c8g c8gb c8gd c8gn c8i c8i-flex c8id \
    r4 r5 r5a r5ad r5b r5d r5dn r5n r6a r6g r6gd r6i r6id r6idn r6in r7a r7g r7gd r7i r7iz \
    r8a r8g r8gb r8gd r8gn r8i r8i-flex r8id \
    x1 x1e x2gd x2idn x2iedn x2iezn x8g x8aedz x8i z1d \
    d2 d3 d3en h1 i2 i3 i3en i4g i4i i7i i7ie i8g i8ge im4gn is4gen \
    p3 p3dn p4d p4de p5 p5e p5en p6-b200 p6-b300 p6e-gb200 g4ad g4dn g5 g5g g6 g6e g6f gr6 gr6f \
    inf1 inf2 trn1 trn1n trn2 dl1 dl2q f1 f2 vt1 hpc6a hpc6id hpc7a hpc7g hpc8a";

/// <https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/Concepts.DBInstanceClass.Types.html>
const OF_RDS: &str = "t3 t4g m5 m5d m6g m6gd m6i m6id m6idn m6in m7g m7i m8g m8gd c6gd \
    r5 r5b r5d r6g r6gd r6i r6id r6idn r6in r7g r7i r8g r8gd \
    x1 x1e x2g x2idn x2iedn x2iezn z1d";

/// <https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/CacheNodes.SupportedTypes.html>
const OF_ELASTICACHE: &str = "t2 t3 t4g m4 m5 m6g m7g r4 r5 r6g r6gd r7g c7gn";

/// Families of databases that RDS has ended, for some engines or for all.
/// <https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/Concepts.DBInstanceClass.Types.html>
const ENDED_CLASSES: [&str; 6] = ["t2", "m3", "m4", "cr1", "r3", "r4"];

/// Runtimes that the schema lists still, and that Lambda has made no new function with since 2024; one with a dot at its end is
/// how several begin. A function that is there may have one.
/// <https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html#runtimes-deprecated>
const ENDED: [&str; 17] = [
    "dotnetcore1.",
    "dotnetcore2.",
    "dotnetcore3.",
    "go1.",
    "java8",
    "nodejs",
    "nodejs4.",
    "nodejs6.",
    "nodejs8.",
    "nodejs10.",
    "nodejs12.",
    "nodejs14.",
    "provided",
    "python2.",
    "python3.6",
    "python3.7",
    "ruby2.",
];

/// Whether Lambda has made no new function with a runtime for long.
pub fn is_ended(runtime: &str) -> bool {
    ENDED.iter().any(|it| *it == runtime || (it.ends_with('.') && runtime.starts_with(it)))
}

/// Runtimes that no new function may have, or that AWS has announced the end of.
/// <https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html#runtimes-deprecated>
const ENDING: [&str; 8] = [
    "dotnet6",
    "nodejs16.x",
    "nodejs18.x",
    "nodejs20.x",
    "provided.al2",
    "python3.8",
    "python3.9",
    "ruby3.2",
];

/// A line for each, with the key it is written at.
pub fn of(estate: &Estate) -> Vec<String> {
    let (mut notes, mut ended) = (Vec::new(), Vec::new());
    let mut say = |key: &str, what: &str| {
        notes.push(format!(
            "{key}: {what} is not known to Forebay, whose list is of {OF}; if it is new at AWS, all is \
             well."
        ));
    };
    let region = estate.aws.region.as_str();
    if !REGIONS.contains(&region) {
        say("aws.region", &format!("the region `{region}`"));
    }
    for (key, kind, known) in types(estate) {
        let plain = kind.trim_start_matches("db.").trim_start_matches("cache.");
        let family = plain.split('.').next().unwrap_or(plain);
        if kind.starts_with("db.") && ENDED_CLASSES.contains(&family) {
            ended.push(format!(
                "{key}: RDS ends `db.{family}`, and may make no database of it; take a later family."
            ));
        } else if !known.split_whitespace().any(|it| it == family) && !family.starts_with("u-") {
            say(&key, &format!("the type `{kind}`"));
        }
    }
    for (key, database) in databases(estate) {
        let version = database.version.as_deref().unwrap_or(database.engine.version());
        if !is_known(database.engine, version) {
            let what = format!("{} {version}", database.engine.word());
            say(&format!("{key}.version"), &what);
        }
    }
    notes.append(&mut ended);
    for (name, function) in &estate.functions {
        if is_ended(&function.runtime) || ENDING.contains(&function.runtime.as_str()) {
            notes.push(format!(
                "functions.{name}.runtime: AWS ends `{}`, and may make no new function with it; take a \
                 later one.",
                function.runtime
            ));
        }
    }
    notes
}

fn databases(estate: &Estate) -> Vec<(String, &Database)> {
    let ledger = estate.ledger.iter().map(|(_, database)| ("database".to_owned(), database));
    let others = estate.databases.iter();
    ledger.chain(others.map(|(name, it)| (format!("databases.{name}"), it))).collect()
}

/// Every type of instance in the file: its key, the type, and the families there are of it.
fn types(estate: &Estate) -> Vec<(String, &str, &'static str)> {
    let edge = ("edge.instances.type".to_owned(), estate.edge.instances.kind.as_str(), OF_EC2);
    let mut found = vec![edge];
    if let Some((standby, _)) = &estate.ledger {
        found.push(("ledger.instances.type".to_owned(), &standby.kind, OF_EC2));
    }
    for (name, capacity) in &estate.capacity {
        let types = capacity.types.iter().enumerate();
        found.extend(types.map(|(n, it)| (format!("capacity.{name}.types[{n}]"), &**it, OF_EC2)));
    }
    let databases = databases(estate).into_iter();
    found.extend(databases.map(|(key, it)| (format!("{key}.class"), &*it.class, OF_RDS)));
    found
        .extend(estate.cache.iter().map(|it| ("cache.node".to_owned(), &*it.node, OF_ELASTICACHE)));
    found
}

/// Whether RDS had versions of this line.
fn is_known(engine: Engine, version: &str) -> bool {
    let mut numbers = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let (major, minor) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    match engine {
        Engine::Mysql => [(5, 7), (8, 0), (8, 4)].contains(&(major, minor)),
        Engine::AuroraMysql => [(5, 7), (8, 0)].contains(&(major, minor)),
        Engine::Mariadb => [(10, 5), (10, 6), (10, 11), (11, 4), (11, 8)].contains(&(major, minor)),
        Engine::Postgres => (11..=18).contains(&major),
        Engine::AuroraPostgresql => (11..=17).contains(&major),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_forebay_takes_unasked_is_known() {
        use Engine::{AuroraMysql, AuroraPostgresql, Mariadb, Mysql, Postgres};
        for engine in [Mysql, Mariadb, Postgres, AuroraMysql, AuroraPostgresql] {
            assert!(is_known(engine, engine.version()), "{engine:?}");
        }
        assert!(!is_known(Postgres, "99.9") && !is_known(Mysql, "9.4.0"));
    }
}
