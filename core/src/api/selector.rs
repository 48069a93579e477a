//! Label selectors of both kinds: a Service's plain map, and a workload's `matchLabels` with `matchExpressions`.
//!
//! A Service selects by equality only; ReplicaSets, Deployments and NetworkPolicies say more. Whoever writes both
//! must not mix them up: `matchExpressions` in a Service's selector is a label of that name.

use super::field::{Errors, FieldError};
use super::syntax;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;

/// One condition on a label.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Condition {
    /// The label is there and has one of these values.
    In(BTreeSet<String>),
    /// The label is not there, or has none of these values.
    NotIn(BTreeSet<String>),
    /// The label is there.
    Exists,
    /// The label is not there.
    DoesNotExist,
}

/// A selector: all of its conditions must hold. One without conditions selects everything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selector {
    conditions: Vec<(String, Condition)>,
}

impl Selector {
    /// A Service's selector, or `matchLabels`: each label must have the value given.
    #[must_use]
    pub fn of_labels(labels: &BTreeMap<String, String>) -> Self {
        let equal =
            |(key, value): (&String, &String)| (key.clone(), Condition::In([value.clone()].into()));
        Self {
            conditions: labels.iter().map(equal).collect(),
        }
    }

    /// A workload's selector; `path` is the field that it stands in, such as `spec.selector`.
    ///
    /// ```
    /// use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
    /// use portolan::api::Selector;
    ///
    /// let selector = LabelSelector {
    ///     match_expressions: Some(vec![LabelSelectorRequirement {
    ///         key: "app".to_string(),
    ///         operator: "Exists".to_string(),
    ///         values: None,
    ///     }]),
    ///     ..LabelSelector::default()
    /// };
    /// let selector = Selector::of_workload(&selector, "spec.selector").expect("a sound selector");
    /// assert!(selector.matches(&[("app".to_string(), "web".to_string())].into()));
    /// assert!(!selector.matches(&[("tier".to_string(), "web".to_string())].into()));
    /// ```
    ///
    /// # Errors
    ///
    /// Everything that the API server would refuse it for.
    pub fn of_workload(
        selector: &meta::LabelSelector,
        path: &str,
    ) -> Result<Self, Vec<FieldError>> {
        let mut errors = Errors::default();
        let mut built = Self::default();
        if let Some(labels) = &selector.match_labels {
            syntax::labels(labels, &format!("{path}.matchLabels"), &mut errors);
            built = Self::of_labels(labels);
        }
        for (index, it) in selector.match_expressions.iter().flatten().enumerate() {
            let path = format!("{path}.matchExpressions[{index}]");
            built.conditions.extend(requirement(it, &path, &mut errors));
        }
        if errors.0.is_empty() {
            Ok(built)
        } else {
            Err(errors.0)
        }
    }

    /// Do all conditions hold for these labels?
    #[must_use]
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.conditions.iter().all(|(key, condition)| {
            let value = labels.get(key);
            match condition {
                Condition::In(values) => value.is_some_and(|value| values.contains(value)),
                Condition::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
                Condition::Exists => value.is_some(),
                Condition::DoesNotExist => value.is_none(),
            }
        })
    }
}

fn requirement(
    it: &meta::LabelSelectorRequirement,
    path: &str,
    errors: &mut Errors,
) -> Option<(String, Condition)> {
    let field = format!("{path}.key");
    errors.each_invalid(field, &it.key, syntax::qualified_name(&it.key));
    let field = format!("{path}.values");
    let values: BTreeSet<String> = it.values.iter().flatten().cloned().collect();
    for value in &values {
        errors.each_invalid(&field, value, syntax::label_value(value));
    }
    let condition = match it.operator.as_str() {
        "In" => Condition::In(values),
        "NotIn" => Condition::NotIn(values),
        "Exists" => Condition::Exists,
        "DoesNotExist" => Condition::DoesNotExist,
        other => {
            let operators = ["DoesNotExist", "Exists", "In", "NotIn"];
            errors.not_supported(format!("{path}.operator"), other, &operators);
            return None;
        }
    };
    let given = it.values.as_ref().is_some_and(|values| !values.is_empty());
    match &condition {
        Condition::In(_) | Condition::NotIn(_) if !given => {
            errors.required(
                field,
                "must be specified when `operator` is 'In' or 'NotIn'",
            );
        }
        Condition::Exists | Condition::DoesNotExist if given => {
            let rule = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
            errors.forbidden(field, rule);
        }
        Condition::In(_) | Condition::NotIn(_) | Condition::Exists | Condition::DoesNotExist => {}
    }
    Some((it.key.clone(), condition))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let owned = |(key, value): &(&str, &str)| (key.to_string(), value.to_string());
        pairs.iter().map(owned).collect()
    }

    fn workload(
        match_labels: &[(&str, &str)],
        expressions: &[(&str, &str, &[&str])],
    ) -> Result<Selector, Vec<FieldError>> {
        let requirement =
            |(key, operator, values): &(&str, &str, &[&str])| meta::LabelSelectorRequirement {
                key: key.to_string(),
                operator: operator.to_string(),
                values: Some(values.iter().map(ToString::to_string).collect()),
            };
        let selector = meta::LabelSelector {
            match_labels: Some(labels(match_labels)),
            match_expressions: Some(expressions.iter().map(requirement).collect()),
        };
        Selector::of_workload(&selector, "spec.selector")
    }

    #[test]
    fn each_operator_selects_as_kubernetes_says() {
        let web = labels(&[("app", "web")]);
        let db = labels(&[("app", "db")]);
        let bare = labels(&[("tier", "front")]);
        for (operator, values, matching) in [
            ("In", &["web", "api"][..], [true, false, false]),
            ("NotIn", &["web", "api"][..], [false, true, true]),
            ("Exists", &[][..], [true, true, false]),
            ("DoesNotExist", &[][..], [false, false, true]),
        ] {
            let selector = workload(&[], &[("app", operator, values)]);
            let selector = selector.unwrap_or_else(|errors| panic!("{operator}: {errors:?}"));
            let matched = [&web, &db, &bare].map(|labels| selector.matches(labels));
            assert_eq!(matched, matching, "{operator}");
        }
    }

    #[test]
    fn all_conditions_must_hold() {
        let selector = workload(&[("app", "web")], &[("tier", "NotIn", &["canary"])]);
        let selector = selector.unwrap_or_else(|errors| panic!("{errors:?}"));
        assert!(selector.matches(&labels(&[("app", "web")])));
        assert!(selector.matches(&labels(&[("app", "web"), ("tier", "stable")])));
        assert!(!selector.matches(&labels(&[("app", "web"), ("tier", "canary")])));
        assert!(!selector.matches(&labels(&[("tier", "stable")])));
    }

    #[test]
    fn nothing_said_selects_everything() {
        let selector = workload(&[], &[]).unwrap_or_else(|errors| panic!("{errors:?}"));
        assert!(selector.matches(&labels(&[])));
        assert!(selector.matches(&labels(&[("a", "b")])));
    }

    #[test]
    fn what_is_wrong_is_told_by_field() {
        let errors = workload(
            &[("app", "we b")],
            &[
                ("app", "In", &[]),
                ("app", "Exists", &["x"]),
                ("app", "Near", &[]),
                ("-", "DoesNotExist", &[]),
            ],
        );
        let fields: Vec<String> = errors
            .err()
            .unwrap_or_default()
            .iter()
            .map(|error| format!("{} {}", error.field, error.kind.as_str()))
            .collect();
        assert_eq!(
            fields,
            [
                "spec.selector.matchLabels Invalid",
                "spec.selector.matchExpressions[0].values Required",
                "spec.selector.matchExpressions[1].values Forbidden",
                "spec.selector.matchExpressions[2].operator NotSupported",
                "spec.selector.matchExpressions[3].key Invalid",
            ]
        );
    }
}
