//! What observers hear of what is forgotten.

use std::pin::Pin;
use std::task::Poll;

use super::*;
use harness::support::poll_once;

type Call<'a> = Pin<Box<dyn Future<Output = Result<(), Error>> + 'a>>;
pub(super) type Told = (String, Effect, Origin);

/// Writes down what is invalidated.
#[derive(Debug, Default)]
pub(super) struct Heard {
    told: Mutex<Vec<Told>>,
    namespace: Mutex<Option<Key>>,
    shown: Mutex<String>,
}

impl Heard {
    pub(super) fn namespace(&self) -> Key {
        self.namespace.lock().unwrap().clone().unwrap()
    }

    pub(super) fn take(&self) -> Vec<Told> {
        std::mem::take(&mut self.told.lock().unwrap())
    }
}

impl Observer for Heard {
    fn event(&self, event: &Event<'_>) {
        let Event::Invalidated { namespace, scope, effect, origin, .. } = event else { return };
        let what = match scope {
            Scope::Key(key) => format!("key {}", key.as_str()),
            Scope::Tag { name: Some(name), .. } => format!("tag {name}"),
            Scope::Tag { fingerprint, .. } => format!("tag {fingerprint:x}"),
            Scope::Namespace => "namespace".into(),
            _ => "something new".into(),
        };
        *self.namespace.lock().unwrap() = Some((*namespace).clone());
        *self.shown.lock().unwrap() += &format!("{event:?}");
        self.told.lock().unwrap().push((what, *effect, *origin));
    }
}

fn here(what: &str, effect: Effect) -> Told {
    (what.into(), effect, Origin::Here)
}

fn elsewhere(what: &str, effect: Effect) -> Told {
    (what.into(), effect, Origin::Elsewhere)
}

#[tokio::test]
async fn each_is_told_once_where_it_was_done_and_where_it_was_heard() {
    use Effect::{Cleared, Expired, Invalidated};
    let clock = ManualClock::new();
    let memory = memory(&clock);
    let (ours, theirs) = (Arc::<Heard>::default(), Arc::<Heard>::default());
    let one = builder(&clock, memory.clone()).observer(Arc::clone(&ours) as _).build().unwrap();
    let two = builder(&clock, memory).observer(Arc::clone(&theirs) as _).build().unwrap();
    assert_eq!(two.get::<u32>("home").await.unwrap(), None);
    let told = async || {
        settle().await;
        (ours.take(), theirs.take())
    };
    one.entry("home").tags(["secret tag"]).set(1u32).await.unwrap();
    assert_eq!(told().await, (vec![], vec![elsewhere("key pages:home", Invalidated)]));
    one.invalidate("home").await.unwrap();
    let there = vec![elsewhere("key pages:home", Invalidated)];
    assert_eq!(told().await, (vec![here("key pages:home", Invalidated)], there));
    one.expire("home").await.unwrap();
    assert_eq!(told().await, (vec![here("key pages:home", Expired)], vec![elsewhere("key pages:home", Expired)]));
    one.invalidate_many(["a", "b", "a"]).await.unwrap();
    let (mut own, mut others) = told().await;
    own.sort_by(|one, other| one.0.cmp(&other.0));
    others.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(own, [here("key pages:a", Invalidated), here("key pages:b", Invalidated)]);
    assert_eq!(others, [elsewhere("key pages:a", Invalidated), elsewhere("key pages:b", Invalidated)]);
    one.invalidate_tags(["secret tag", "u", "u"]).await.unwrap();
    let (own, others) = told().await;
    assert_eq!(own, [here("tag secret tag", Invalidated), here("tag u", Invalidated)]);
    assert_eq!((others.len(), others[0].1, others[0].2), (2, Invalidated, Origin::Elsewhere));
    assert!(others[0].0.starts_with("tag ") && !others[0].0.contains("secret"), "{others:?}");
    one.invalidate_namespace().await.unwrap();
    let everywhere = vec![elsewhere("namespace", Invalidated)];
    assert_eq!(told().await, (vec![here("namespace", Invalidated)], everywhere.clone()));
    one.clear().await.unwrap();
    assert_eq!(told().await, (vec![here("namespace", Cleared)], everywhere));
    one.expire_all().await.unwrap();
    assert_eq!(told().await, (vec![here("namespace", Expired)], vec![elsewhere("namespace", Expired)]));
    for heard in [&ours, &theirs] {
        assert_eq!(heard.namespace().as_str(), "pages:");
        let shown = heard.shown.lock().unwrap();
        assert!(!shown.contains("home") && !shown.contains("secret"), "{shown}");
    }
}

#[tokio::test]
async fn it_is_told_when_the_backend_knows_and_also_when_it_refused() {
    let clock = ManualClock::new();
    let memory = memory(&clock);
    let (chaos, control) = chaos(&clock, memory.clone());
    let heard = Arc::<Heard>::default();
    let cache = builder(&clock, chaos).observer(Arc::clone(&heard) as _).build().unwrap();
    let gate = control.gate(Operation::Remove);
    let change = tokio::spawn({
        let cache = cache.clone();
        async move { cache.invalidate("home").await }
    });
    gate.wait_for(1).await;
    assert_eq!(heard.take(), []);
    gate.open();
    change.await.unwrap().unwrap();
    assert_eq!(heard.take(), [here("key pages:home", Effect::Invalidated)]);
    control.inject_all(Fault::Refuse);
    assert!(cache.invalidate("home").await.is_err());
    assert!(cache.invalidate_tag("t").await.is_err());
    assert!(cache.clear().await.is_err());
    let told =
        [("key pages:home", Effect::Invalidated), ("tag t", Effect::Invalidated), ("namespace", Effect::Cleared)];
    assert_eq!(heard.take(), told.map(|(what, effect)| here(what, effect)));
    control.heal();
    until(&clock, "all is made good", async || cache.pending() == 0).await;
    assert_eq!(heard.take(), [], "which is told to nobody");
    assert!(cache.invalidate("").await.is_err());
    assert_eq!(heard.take(), []);
}

#[tokio::test]
async fn what_is_refused_is_not_told() {
    let clock = ManualClock::new();
    let heard = Arc::<Heard>::default();
    let builder = builder(&clock, memory(&clock)).namespace_index(false).observer(Arc::clone(&heard) as _);
    let cache = builder.build().unwrap();
    assert!(cache.clear().await.is_err() && cache.invalidate_tags(["t"]).await.is_err());
    assert!(cache.invalidate_many(["a", ""]).await.is_err());
    assert_eq!(heard.take(), []);
}

#[test]
fn without_a_backend_it_is_told_at_once() {
    let heard = Arc::<Heard>::default();
    let cache = CacheBuilder::new().namespace("pages").observer(Arc::clone(&heard) as _).build().unwrap();
    let done = |call: Call<'_>| assert!(matches!(poll_once(&mut { call }), Poll::Ready(Ok(()))));
    done(Box::pin(cache.invalidate_many(["a"])));
    done(Box::pin(cache.expire("a")));
    done(Box::pin(cache.clear()));
    let key = "key pages:a";
    let told = [(key, Effect::Invalidated), (key, Effect::Expired), ("namespace", Effect::Cleared)];
    assert_eq!(heard.take(), told.map(|(what, effect)| here(what, effect)));
}
