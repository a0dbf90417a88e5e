//! Holds the source to its layers, by reading it as text.
//!
//! The order of the `mod` items in `src/lib.rs` is the layering: a module imports only from modules
//! above it. Paths are found wherever they stand (`use`, groups, inline, `super` out of a module),
//! in tests beside the code too; comments and string literals are skipped. A path through lib.rs's
//! re-exports counts as a mistake, since it hides the layer it leads to. What macros of other
//! crates expand to is not seen.
//!
//! The `unsafe` keyword may stand only in the files that DESIGN.md lists under its heading "Unsafe
//! code", and each file listed there must need it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// One file below `src`: its path as a reader writes it (`src/actor/cell.rs`) and its text.
struct Source {
    path: String,
    text: String,
}

#[test]
fn modules_import_only_from_modules_above_them() {
    let sources = sources_of_the_crate();
    let found = layer_violations(&sources);
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn unsafe_code_stands_only_in_the_files_that_design_md_lists() {
    let design = fs::read_to_string(root().join("DESIGN.md")).expect("DESIGN.md can be read");
    let found = unsafe_violations(&sources_of_the_crate(), &design);
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

/// A tree of three layers, `low`, `middle` and `high`, with `text` as `src/middle/part.rs`.
fn tree_with(text: &str) -> Vec<Source> {
    let source = |path: &str, text: &str| Source {
        path: path.to_owned(),
        text: text.to_owned(),
    };
    vec![
        source(
            "src/lib.rs",
            "mod low;\npub mod middle;\n#[cfg(test)]\npub(crate) mod high;\npub use crate::high::Top;\n",
        ),
        source("src/high.rs", "use crate::{low::Base, middle};\n"),
        source("src/low.rs", "pub struct Base;\n"),
        source("src/middle.rs", "mod part;\nuse super::low::Base;\n"),
        source("src/middle/part.rs", text),
    ]
}

#[test]
fn an_import_from_below_is_found_in_every_form() {
    for (planted, line, path) in [
        ("use crate::high::Top;", 1, "crate::high"),
        (
            "\n/* a\n */ use crate::{low::Base, high};",
            3,
            "crate::high",
        ),
        (
            "use crate::{\n    low::{Base, Other},\n    high::Top,\n};",
            3,
            "crate::high",
        ),
        (
            "fn f() { let x = '\"'; crate :: high::run(x) }",
            1,
            "crate::high",
        ),
        ("fn f<'a>(x: &'a crate::high::Top) {}", 1, "crate::high"),
        ("use super::super::high::Top;", 1, "super::super::high"),
        (
            "mod inner { use super::super::super::high; }",
            1,
            "super::super::super::high",
        ),
        (
            "macro_rules! m { () => { $crate::high::run() } }",
            1,
            "crate::high",
        ),
        ("mod tests { use crate::high::Top; }", 1, "crate::high"),
        ("use crate::Top;", 1, "crate::Top"),
        ("use crate::*;", 1, "crate::*"),
    ] {
        let found = layer_violations(&tree_with(planted));
        let place = format!("src/middle/part.rs:{line}: `{path}`");
        assert!(
            found.len() == 1 && found[0].starts_with(&place),
            "{planted}: {found:?}"
        );
    }
}

#[test]
fn what_is_allowed_or_is_no_code_is_not_reported() {
    for allowed in [
        "use crate::low::Base;",
        "use crate::middle::Other;",
        "use super::Other;",
        "mod tests { use super::*; mod deeper { use super::super::*; } }",
        "pub(crate) fn f() {}",
        "// use crate::high::Top;",
        "/// See [`crate::high::Top`].\n//! crate::high\npub fn f() {}",
        "/* use crate::high; /* nested */ use crate::high; */",
        "const S: &str = \"a \\\" use crate::high\";",
        "const S: &str = r#\"a \" use crate::high\"#;",
        "const B: &[u8] = b\"crate::high\"; const C: char = '\\''; // crate::high",
        "use my_crate::high::Top;",
    ] {
        let found = layer_violations(&tree_with(allowed));
        assert!(found.is_empty(), "{allowed}: {found:?}");
    }
}

#[test]
fn an_unlisted_unsafe_and_a_needless_listing_are_found() {
    let tree =
        tree_with("fn f() {\n    unsafe { g() } // why\n}\n// unsafe\n#![deny(unsafe_code)]");
    let listed = "# Design\n\n## Unsafe code\n\n- `src/middle/part.rs`: needs it\n\n## Next\n- `src/low.rs`\n";
    assert_eq!(unsafe_violations(&tree, listed), Vec::<String>::new());

    let found = unsafe_violations(
        &tree,
        "## Unsafe code\n\n- `src/low.rs`: no longer needs it\n",
    );
    assert_eq!(
        found,
        [
            "src/middle/part.rs:2: `unsafe` in a file that DESIGN.md does not list under \"Unsafe code\"",
            "DESIGN.md: lists `src/low.rs` under \"Unsafe code\", which holds no `unsafe` or does not exist",
        ]
    );
}

/// Says of each path that leads out of its layer downwards, or through the re-exports, where it
/// stands.
fn layer_violations(sources: &[Source]) -> Vec<String> {
    let lib = sources
        .iter()
        .find(|source| source.path == "src/lib.rs")
        .expect("a crate has a src/lib.rs");
    let layers = modules_in_order(&lib.text);
    let layer_of = |name: &str| layers.iter().position(|layer| layer == name);

    let mut found = Vec::new();
    for Source { path, text } in sources.iter().filter(|source| source.path != "src/lib.rs") {
        let modules = module_path(path);
        let own = layer_of(&modules[0])
            .unwrap_or_else(|| panic!("{path} belongs to a module that src/lib.rs declares"));
        for import in paths_from_the_root(text, modules.len()) {
            let why = match layer_of(&import.name) {
                Some(layer) if layer <= own => continue,
                Some(_) => format!(
                    "`{}` stands below `{}` in src/lib.rs",
                    import.name, modules[0]
                ),
                None => format!(
                    "`{}` is no module of src/lib.rs; name it where it is defined",
                    import.name
                ),
            };
            found.push(format!(
                "{path}:{}: `{}::{}`: {why}",
                import.line, import.root, import.name
            ));
        }
    }
    found
}

/// Says which files hold `unsafe` without being listed in `design`, and which are listed without
/// need.
fn unsafe_violations(sources: &[Source], design: &str) -> Vec<String> {
    let listed = files_listed_under(design, "Unsafe code");
    let mut needed = BTreeSet::new();
    let mut found = Vec::new();
    for Source { path, text } in sources {
        let Some(token) = tokens(text)
            .into_iter()
            .find(|token| token.text == "unsafe")
        else {
            continue;
        };
        needed.insert(path.clone());
        if !listed.contains(path) {
            found.push(format!(
                "{path}:{}: `unsafe` in a file that DESIGN.md does not list under \"Unsafe code\"",
                token.line
            ));
        }
    }
    found.extend(listed.difference(&needed).map(|path| {
        format!("DESIGN.md: lists `{path}` under \"Unsafe code\", which holds no `unsafe` or does not exist")
    }));
    found
}

/// The `src/...` paths in backticks in the bullets between `heading` and the next heading.
fn files_listed_under(design: &str, heading: &str) -> BTreeSet<String> {
    let is_heading = |line: &str| line.starts_with('#');
    design
        .lines()
        .skip_while(|line| !(is_heading(line) && line.trim_start_matches('#').trim() == heading))
        .skip(1)
        .take_while(|line| !is_heading(line))
        .filter(|line| line.trim_start().starts_with(['-', '*']))
        .flat_map(|line| line.split('`').skip(1).step_by(2))
        .filter(|span| span.starts_with("src/"))
        .map(str::to_owned)
        .collect()
}

/// The names in the `mod` items of lib.rs, in their order.
fn modules_in_order(lib: &str) -> Vec<String> {
    let tokens = tokens(lib);
    let is_item = |pair: &[Token<'_>]| pair[0].text == "mod" && is_name(pair[1].text);
    tokens
        .windows(2)
        .filter(|pair| is_item(pair))
        .map(|pair| pair[1].text.to_owned())
        .collect()
}

/// `src/actor/cell.rs` as `["actor", "cell"]`.
fn module_path(path: &str) -> Vec<String> {
    let path = path.strip_prefix("src/").expect("a source lies below src");
    let path = path.strip_suffix(".rs").expect("a source is Rust");
    path.split('/').map(str::to_owned).collect()
}

/// A path that starts at the crate's root.
struct Import {
    line: usize,
    /// How the path reaches the root: `crate`, or a chain of `super`.
    root: String,
    /// The name that follows.
    name: String,
}

/// Finds the paths that start at the crate's root in a file whose module lies `depth` modules below
/// it.
fn paths_from_the_root(text: &str, depth: usize) -> Vec<Import> {
    let tokens = tokens(text);
    let text_at = |at: usize| tokens.get(at).map_or("", |token| token.text);
    let mut found = Vec::new();
    // One entry for each open brace: whether it opened an inline module, which puts the code one
    // module deeper.
    let mut braces = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let token = &tokens[at];
        let mut next = at + 1;
        match token.text {
            "{" => braces.push(at >= 2 && text_at(at - 2) == "mod"),
            "}" => drop(braces.pop()),
            "crate" if text_at(next) == "::" => {
                add_names(&tokens, next + 1, "crate", &mut found);
            }
            "super" => {
                let mut steps = 1;
                while text_at(next) == "::" && text_at(next + 1) == "super" {
                    steps += 1;
                    next += 2;
                }
                let inline = braces.iter().filter(|inline| **inline).count();
                if steps == depth + inline && text_at(next) == "::" {
                    let root = vec!["super"; steps].join("::");
                    add_names(&tokens, next + 1, &root, &mut found);
                }
            }
            _ => {}
        }
        at = next;
    }
    found
}

/// Adds the name at `at`, or of a group there the first name of each of its members.
fn add_names(tokens: &[Token<'_>], at: usize, root: &str, found: &mut Vec<Import>) {
    let mut add = |token: &Token<'_>| {
        found.push(Import {
            line: token.line,
            root: root.to_owned(),
            name: token.text.to_owned(),
        });
    };
    let Some(first) = tokens.get(at) else { return };
    if first.text != "{" {
        add(first);
        return;
    }
    let mut depth = 0;
    for pair in tokens[at..].windows(2) {
        match pair[0].text {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
        let begins_member = depth == 1 && matches!(pair[0].text, "{" | ",");
        if begins_member && pair[1].text != "}" {
            add(&pair[1]);
        }
    }
}

/// A word, a `::`, or any other single character that is code.
struct Token<'a> {
    line: usize,
    text: &'a str,
}

/// The tokens of `text` without its white space, comments and string and character literals.
fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    let mut line = 1;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = literal_or_comment_len(rest);
        let len = match first {
            _ if skipped > 0 => skipped,
            _ if is_word(first) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            ':' if rest.starts_with("::") => 2,
            _ => first.len_utf8(),
        };
        let (token, after) = rest.split_at(len);
        if skipped == 0 && !first.is_whitespace() {
            found.push(Token { line, text: token });
        }
        line += token.matches('\n').count();
        rest = after;
    }
    found
}

/// The bytes of the comment or of the string or character literal that `text` begins with, or 0.
fn literal_or_comment_len(text: &str) -> usize {
    if text.starts_with("//") {
        return text.find('\n').unwrap_or(text.len());
    }
    if text.starts_with("/*") {
        return block_comment_len(text);
    }
    // The prefixes b, c, r, br and cr are part of the literal; other words are not ours.
    let prefix_len = ["br", "cr", "b", "c", "r"]
        .into_iter()
        .find(|prefix| text.starts_with(prefix))
        .map_or(0, str::len);
    let (prefix, body) = text.split_at(prefix_len);
    let body_len = if prefix.ends_with('r') {
        raw_string_len(body)
    } else if body.starts_with('"') {
        quoted_len(body, '"')
    } else if is_character(body) {
        quoted_len(body, '\'')
    } else {
        0
    };
    if body_len == 0 {
        0
    } else {
        prefix_len + body_len
    }
}

fn block_comment_len(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// The bytes of a raw string after its `r`, or 0 if `text` does not begin one.
fn raw_string_len(text: &str) -> usize {
    let hashes = text.len() - text.trim_start_matches('#').len();
    if !text[hashes..].starts_with('"') {
        return 0;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    let begun = hashes + 1;
    text[begun..]
        .find(&end)
        .map_or(text.len(), |at| begun + at + end.len())
}

/// The bytes of a literal that begins and ends with `quote`, where a backslash escapes.
fn quoted_len(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Whether `text` begins with a character literal, as against a lifetime.
fn is_character(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next() == Some('\'')
        && match chars.next() {
            Some('\\') => true,
            Some(_) => chars.next() == Some('\''),
            None => false,
        }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn is_name(text: &str) -> bool {
    text.chars().all(is_word)
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every `.rs` file below `src`, in the order of their paths.
fn sources_of_the_crate() -> Vec<Source> {
    let mut files = Vec::new();
    add_files_below(&root().join("src"), &mut files).expect("src can be listed");
    files.sort();
    files
        .into_iter()
        .map(|file| {
            let path = file.strip_prefix(root()).expect("src lies below the root");
            Source {
                path: path.to_string_lossy().replace('\\', "/"),
                text: fs::read_to_string(&file).expect("a source can be read"),
            }
        })
        .collect()
}

fn add_files_below(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            add_files_below(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}
