//! Path templates such as `/api/v1/sessions/{session}:start`, and the table that finds them.

use std::collections::HashMap;

use anyhow::ensure;
use http::Method;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Literal(String),
    Variable,
}

/// A path template: literals, variables of one segment each, and at the end perhaps a custom verb.
#[derive(Clone, Debug)]
pub(super) struct Template {
    segments: Vec<Segment>,
    verb: Option<String>,
    pub(super) text: String,
    pub(super) variables: Vec<String>,
}

impl Template {
    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        let unsupported = || format!("the pattern {text:?} is not supported");
        ensure!(text.len() > 1 && text.starts_with('/'), unsupported());
        let (path, verb) = match text.rfind(':') {
            Some(at) if !text[at..].contains(['/', '}']) => (&text[..at], Some(text[at + 1..].to_owned())),
            _ => (text, None),
        };
        ensure!(verb.as_ref().is_none_or(|v| !v.is_empty()), unsupported());
        let (mut segments, mut variables) = (Vec::new(), Vec::new());
        for segment in path[1..].split('/') {
            let plain = |s: &str| !s.is_empty() && !s.contains(['{', '}', '*', '=', ':', '%']);
            match segment.strip_prefix('{').and_then(|s| s.strip_suffix('}')) {
                Some(name) => {
                    ensure!(plain(name) && !variables.contains(&name.to_owned()), unsupported());
                    variables.push(name.to_owned());
                    segments.push(Segment::Variable);
                }
                None => {
                    ensure!(plain(segment), unsupported());
                    segments.push(Segment::Literal(segment.to_owned()));
                }
            }
        }
        Ok(Self { segments, verb, text: text.to_owned(), variables })
    }

    /// The captures, still percent-encoded, if `path` matches. The verb is compared with the raw last segment: `x:start` ends in
    /// a verb, `x%3Astart` is data.
    fn captures<'p>(&self, path: &'p str) -> Option<Vec<&'p str>> {
        let mut path = path.strip_prefix('/')?;
        if let Some(verb) = &self.verb {
            path = path.strip_suffix(verb.as_str())?.strip_suffix(':')?;
        }
        let mut captures = Vec::with_capacity(self.variables.len());
        let mut given = path.split('/');
        for segment in &self.segments {
            let found = given.next()?;
            match segment {
                Segment::Literal(literal) if literal == found => {}
                Segment::Variable if !found.is_empty() => captures.push(found),
                _ => return None,
            }
        }
        given.next().is_none().then_some(captures)
    }

    /// Orders templates: with a verb first, then literals before variables, from the left.
    fn rank(&self) -> (bool, Vec<bool>) {
        (self.verb.is_none(), self.segments.iter().map(|s| *s == Segment::Variable).collect())
    }

    /// What two templates share when they match the same paths.
    fn shape(&self) -> (&[Segment], Option<&str>) {
        (&self.segments, self.verb.as_deref())
    }
}

/// What a path leads to.
#[derive(Debug)]
pub(super) enum Found<'t, 'p, R> {
    /// A route with its captures.
    Route(&'t Template, &'t R, Vec<&'p str>),
    /// Routes exist, for other methods only.
    OtherMethods(Vec<Method>),
    /// Nothing is there.
    Nothing,
}

/// Routes by number of segments; a handful of comparisons per request.
#[derive(Debug)]
pub(super) struct Table<R> {
    by_depth: HashMap<usize, Vec<(Method, Template, R)>>,
}

impl<R> Table<R> {
    pub(super) fn new() -> Self {
        Self { by_depth: HashMap::new() }
    }

    /// The route with the same method and the same pattern, if there is one already.
    pub(super) fn same(&mut self, method: &Method, template: &Template) -> Option<&mut R> {
        let routes = self.by_depth.get_mut(&template.segments.len())?;
        routes.iter_mut().find(|(m, t, _)| m == method && t.shape() == template.shape()).map(|(_, _, r)| r)
    }

    pub(super) fn add(&mut self, method: Method, template: Template, route: R) {
        let routes = self.by_depth.entry(template.segments.len()).or_default();
        routes.push((method, template, route));
        routes.sort_by_key(|(_, t, _)| t.rank());
    }

    pub(super) fn find<'t, 'p>(&'t self, method: &Method, path: &'p str) -> Found<'t, 'p, R> {
        let depth = path.bytes().filter(|b| *b == b'/').count();
        let mut others = Vec::new();
        // The most specific template that matches decides what the path names; only its methods count.
        let mut chosen = None;
        for (m, template, route) in self.by_depth.get(&depth).map_or(&[][..], Vec::as_slice) {
            if chosen.is_some_and(|c: &Template| c.shape() != template.shape()) {
                continue;
            }
            let Some(captures) = template.captures(path) else { continue };
            if m == method {
                return Found::Route(template, route, captures);
            }
            chosen = Some(template);
            others.push(m.clone());
        }
        if others.is_empty() { Found::Nothing } else { Found::OtherMethods(others) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table<u8> {
        let mut table = Table::new();
        for (i, (method, text)) in (0u8..).zip([
            (Method::GET, "/v1/s/{id}"),
            (Method::DELETE, "/v1/s/{id}"),
            (Method::POST, "/v1/s/{id}:start"),
            (Method::GET, "/v1/s/all"),
            (Method::GET, "/v1/s/{id}/me"),
        ]) {
            table.add(method, Template::parse(text).unwrap(), i);
        }
        table
    }

    fn find(method: &Method, path: &str) -> String {
        match table().find(method, path) {
            Found::Route(_, route, captures) => format!("{route} {}", captures.join(",")),
            Found::OtherMethods(all) => all.iter().map(Method::as_str).collect::<Vec<_>>().join(" "),
            Found::Nothing => "-".into(),
        }
    }

    #[test]
    fn paths_find_their_routes() {
        assert_eq!(find(&Method::GET, "/v1/s/x"), "0 x");
        assert_eq!(find(&Method::GET, "/v1/s/all"), "3 ");
        assert_eq!(find(&Method::POST, "/v1/s/x:start"), "2 x");
        assert_eq!(find(&Method::GET, "/v1/s/a:b%2Fc/me"), "4 a:b%2Fc");
        assert_eq!(find(&Method::POST, "/v1/s/x%3Astart"), "GET DELETE");
        assert_eq!(find(&Method::PUT, "/v1/s/x"), "GET DELETE");
        assert_eq!(find(&Method::GET, "/v1/s/x:start"), "POST");
        for nothing in ["/v1/s", "/v1/s/", "/v1/s/x/", "/v1/s//me", "/v1/s/x/you", "", "/", "*"] {
            assert_eq!(find(&Method::GET, nothing), "-", "{nothing}");
        }
    }

    #[test]
    fn patterns_that_are_not_supported_are_refused() {
        for bad in ["v1", "/", "/v1/{a=b/*}", "/v1/*", "/v1/{a}/{a}", "/v1/{}", "/v1/a{b}", "/v1/x:", "/v1//x", "/v1/x/"] {
            assert!(Template::parse(bad).is_err(), "{bad}");
        }
    }
}
