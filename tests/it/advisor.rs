//! What the sampled reads say of other sizes of L1.

use cachekit::{CacheBuilder, Intent};

use harness::support::Broken;

#[tokio::test]
async fn the_curve_says_what_another_size_is_hit() {
    let hits = async |mebibytes: f64| {
        let builder = CacheBuilder::new().intent(Intent::Production).namespace("pages").l1_max_size_mb(mebibytes);
        let cache = builder.advisor(true).build().unwrap();
        let mut rng = fastrand::Rng::with_seed(5);
        for _ in 0..25_000 {
            let key = 10_000f64.powf(rng.f64()) as u32;
            cache.get_or_compute_arc(key, || async { Ok::<_, Broken>(vec![0u8; 2_000]) }).await.unwrap();
        }
        (cache.stats().hit_ratio().unwrap(), cache.hit_curve().unwrap())
    };
    let (small, curve) = hits(2.0).await;
    let (large, _) = hits(8.0).await;
    let said = |mebibytes: usize| curve.hit_ratio(mebibytes << 20).unwrap();
    assert!(large > small + 0.1, "{small} {large}");
    assert!((said(2) - small).abs() < 0.08 && (said(8) - large).abs() < 0.08, "{small} {large} {curve:?}");
    assert!(curve.iter().all(|(_, ratio)| (0.0..=1.0).contains(&ratio)));
    assert!((4 << 20..32 << 20).contains(&curve.bytes_for(0.95).unwrap()), "{:?}", curve.bytes_for(0.95));
    assert!(curve.to_string().starts_with("   L1 in MiB  hit ratio\n           1  0."), "{curve}");
}

#[tokio::test]
async fn nothing_is_sampled_unless_the_setting_says_so() {
    let cache = CacheBuilder::new().build().unwrap();
    assert!(cache.hit_curve().is_none() && !cache.policy().advisor);
    let cache = CacheBuilder::new().advisor(true).l1_enabled(false).build().unwrap();
    assert!(cache.hit_curve().is_none());
}
