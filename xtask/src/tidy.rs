//! The rules of STYLE.md that a tool can check: which crate may use which, how files begin and how
//! long they are, what must not stand in them. Runs as a test too.

mod edges;
mod files;

use crate::repo::Repo;
use crate::{Failure, docs, say};

/// The chore.
pub(crate) fn run(repo: &Repo, _: &[String]) -> Result<(), Failure> {
    let problems = problems(repo)?;
    for problem in &problems {
        say(problem);
    }
    match problems.len() {
        0 => Ok(()),
        count => Err(Failure::Text(format!("{count} problems"))),
    }
}

/// One text for each broken rule.
fn problems(repo: &Repo) -> Result<Vec<String>, Failure> {
    let texts = repo.text_files()?;
    let mut problems = edges::check(repo)?;
    problems.extend(edges::check_bans(repo));
    problems.extend(files::check(&texts));
    problems.extend(files::check_limits(&texts));
    problems.extend(docs::stale(repo)?);
    Ok(problems)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_tidy() {
        let problems = problems(&Repo::own()).unwrap();
        assert!(problems.is_empty(), "{}", problems.join("\n"));
    }
}
