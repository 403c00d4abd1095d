//! Backends with one defect each, and the sentence that finds it.

mod orders;
mod store;

use std::time::Duration;

use cachekit::testing::ManualClock;
use cachekit::testing::conformance::{BackendOptions, backend};

use self::store::Broken;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Defect {
    None,
    NoLeases,
    ShoutsItsName,
    HangsOnPing,
    CutsAtLimit,
    CallsTooLargeABug,
    ForgetsOnTooLarge,
    CutsTooLargeInBatches,
    TellsTheKey,
    RefusesLongTtl,
    FailsOnAbsent,
    LosesEmpty,
    TrimsNewlines,
    KeepsTheFirst,
    RemovesNothing,
    FailsRemovingAbsent,
    AddsUpKeys,
    FoldsCase,
    ReadsKeysToTheFirst100,
    ForgetsTtl,
    RoundsDown,
    KeepsTheLongestTtl,
    ProlongsOnRead,
    NoTtlLeft,
    TtlAsAsked,
    TtlInSeconds,
    LeavesAbsentOut,
    AnswersInItsOwnOrder,
    AnswersTwinsOnce,
    KeepsTheFirstOfMany,
    SetsTheFirstOfTwins,
    ForgetsTtlOfBatches,
    RemovesTheFirstOnly,
    StopsAtAbsent,
    RefusesEmptyBatches,
    CutsBatchesAt512,
    ListsTheFirstPage,
    ListsEverything,
    Tears,
    VanishesMeanwhile,
    SharesASlot,
    StoresHalfBeforeTheRest,
    WorksWithoutSayingSo,
    GrantsToAll,
    GrantsInARace,
    HoldsFromItsHolder,
    LeasesOverAnyValue,
    KeepsALeaseBesideTheValue,
    HoldsWhatIsGone,
    ComparesLengths,
    HidesWhatWasFilled,
    GrantsInARaceForAValue,
    LooksBeforeItTakes,
    IgnoresTokens,
    FillsForEver,
    ReleaseSparesLease,
    HoldsForEver,
    RenewsNothing,
    RenewsOnlyInWord,
    RenewsForEver,
    RenewsNoLockOfAValue,
    RenewTakesAnew,
    SetSparesLease,
    RemoveSparesLease,
    SetManySparesLease,
    RemoveManySparesLease,
    TrustsUnknownTokens,
    ReleasesForAnyone,
    EndsLeasesOnATask,
    NamesNoPart,
    MakesLedgersAnew,
    ForgetsHeads,
    ForgetsNothing,
    RevivesLedgers,
    BelievesOldLedgers,
    HoldsDroppedOrders,
    ForgetsTooMuch,
    LowersFloors,
    TrustsLostRecords,
    RacesOrders,
    WritesTheHeadFirst,
    AnnouncesNothing,
    TellsManyBackwards,
    TellsWithoutSayingSo,
}

use Defect as D;

const DEFECTS: &[(Defect, &str)] = &[
    (D::ShoutsItsName, "Capabilities are constant, and their name is short and lower-case."),
    (D::HangsOnPing, "A backend answers a ping."),
    (D::CutsAtLimit, "A value of the item limit is stored."),
    (D::CallsTooLargeABug, "A value above the item limit is `TooLarge`, and the old one stays."),
    (D::ForgetsOnTooLarge, "A value above the item limit is `TooLarge`, and the old one stays."),
    (D::CutsTooLargeInBatches, "A value above the item limit is `TooLarge`, and the old one stays."),
    (D::TellsTheKey, "A value above the item limit is `TooLarge`, and the old one stays."),
    (D::RefusesLongTtl, "The longest TTL is accepted."),
    (D::FailsOnAbsent, "`get` of an absent key is `Ok(None)`."),
    (D::LosesEmpty, "An empty value is a value."),
    (D::TrimsNewlines, "What `set` stored, `get` returns unchanged."),
    (D::KeepsTheFirst, "A second `set` replaces the value."),
    (D::RemovesNothing, "`remove` forgets a key."),
    (D::FailsRemovingAbsent, "`remove` of an absent key succeeds."),
    (D::AddsUpKeys, "Many keys are not mixed up."),
    (D::FoldsCase, "Keys that hardly differ, or look like something else, are different keys."),
    (D::ReadsKeysToTheFirst100, "Keys that hardly differ, or look like something else, are different keys."),
    (D::ForgetsTtl, "An entry is gone when its TTL is over."),
    (D::RoundsDown, "A TTL is rounded up to the backend's precision, never down."),
    (D::KeepsTheLongestTtl, "The last `set` decides how long an entry lives."),
    (D::ProlongsOnRead, "Reading an entry does not prolong its life."),
    (D::NoTtlLeft, "`ttl` of an absent key is `None`."),
    (D::TtlAsAsked, "`ttl` tells how much longer an entry is kept, to the precision."),
    (D::TtlInSeconds, "`ttl` tells how much longer an entry is kept, to the precision."),
    (D::LeavesAbsentOut, "`get_many` answers for each key, in their order."),
    (D::AnswersInItsOwnOrder, "`get_many` answers for each key, in their order."),
    (D::AnswersTwinsOnce, "`get_many` answers as often as a key is asked for."),
    (D::KeepsTheFirstOfMany, "`set_many` stores each value, and replaces what was there."),
    (D::SetsTheFirstOfTwins, "The last value of a key in `set_many` counts."),
    (D::ForgetsTtlOfBatches, "What `set_many` stored is gone when its TTL is over."),
    (D::RemovesTheFirstOnly, "`remove_many` forgets each key, and passes over absent ones."),
    (D::StopsAtAbsent, "`remove_many` forgets each key, and passes over absent ones."),
    (D::RefusesEmptyBatches, "An empty batch succeeds."),
    (D::ListsTheFirstPage, "`scan` lists all below a prefix, page by page, and nothing else; or it is `Unsupported`."),
    (D::ListsEverything, "`scan` lists all below a prefix, page by page, and nothing else; or it is `Unsupported`."),
    (D::CutsBatchesAt512, "A batch of 1,000 works as a small one."),
    (D::Tears, "A reader sees the old bytes or the new ones, never a mixture."),
    (D::VanishesMeanwhile, "A reader sees the old bytes or the new ones, never a mixture."),
    (D::SharesASlot, "Writers of different keys do not disturb each other."),
    (D::StoresHalfBeforeTheRest, "A dropped future leaves the backend usable."),
    (D::WorksWithoutSayingSo, "A backend without leases answers `Unsupported`."),
    (D::GrantsToAll, "At most one lease is out per key."),
    (D::GrantsInARace, "Of many who ask at once, one gets the lease."),
    (D::IgnoresTokens, "`fill` stores the value and ends the lease."),
    (D::FillsForEver, "A filled entry lives as long as its TTL."),
    (D::ReleaseSparesLease, "A lease ends by `release`."),
    (D::HoldsForEver, "A lease ends after `hold`."),
    (D::RenewsNothing, "A lease that is renewed outlives its first `hold`, and ends after its last."),
    (D::RenewsOnlyInWord, "A lease that is renewed outlives its first `hold`, and ends after its last."),
    (D::RenewsForEver, "A lease that is renewed outlives its first `hold`, and ends after its last."),
    (D::RenewsNoLockOfAValue, "A lease on a value is renewed alike."),
    (D::RenewTakesAnew, "`renew` of a lease that has ended, or of another's, does nothing."),
    (D::SetSparesLease, "A lease ends by `set`."),
    (D::RemoveSparesLease, "A lease ends by `remove`."),
    (D::SetManySparesLease, "A lease ends by `set_many`."),
    (D::RemoveManySparesLease, "A lease ends by `remove_many`."),
    (D::TrustsUnknownTokens, "`fill` with a token that was never granted stores nothing."),
    (D::ReleasesForAnyone, "`release` of a lease that has ended does nothing."),
    (D::EndsLeasesOnATask, "A holder hears of those who wait for its lease, if the backend notes them."),
    (D::HoldsFromItsHolder, "A lease is granted again to the token that holds it."),
    (D::LeasesOverAnyValue, "A lease is answered with the value of its key, and then none is granted."),
    (D::KeepsALeaseBesideTheValue, "A lease is answered with the value of its key, and then none is granted."),
    (D::HoldsWhatIsGone, "A lease on a value that was seen is granted."),
    (D::ComparesLengths, "Values are told apart by their length and their first 128 bytes."),
    (D::HidesWhatWasFilled, "Who is told that a lease is held finds its value by the same question."),
    (D::GrantsInARaceForAValue, "Of many who saw a value and ask at once, one gets the lease."),
    (D::LooksBeforeItTakes, "Of many who ask until they have a lease or a value, one fills."),
    (D::NamesNoPart, "`part` names the part of a key and of each ledger, below the number of parts."),
    (D::MakesLedgersAnew, "`forget` makes a ledger where there is none, and keeps one that there is."),
    (D::ForgetsHeads, "The answer to an order is the head that readers find."),
    (D::ForgetsNothing, "What an order forgets stays forgotten, and what begins after it is not."),
    (D::RevivesLedgers, "A ledger that was lost is made anew with another lineage."),
    (D::BelievesOldLedgers, "A ledger that is not believed any more is made anew, once."),
    (D::HoldsDroppedOrders, "A dropped order leaves the ledger usable."),
    (D::ForgetsTooMuch, "An order forgets nothing but what it is about."),
    (D::LowersFloors, "A tag for which a record has no room left stays forgotten."),
    (D::TrustsLostRecords, "What a record knew that was lost counts as forgotten."),
    (D::RacesOrders, "Of many orders at once, each counts."),
    (D::WritesTheHeadFirst, "Who finds the time of an order finds what it forgot."),
    (D::AnnouncesNothing, "An order that is announced is told by the bus in the same step."),
    (D::TellsManyBackwards, "The bus tells of orders in the order of their times, which have no gaps."),
    (D::TellsWithoutSayingSo, "A backend that does not announce tells of no order."),
];

#[test]
fn every_defect_is_found() {
    for (defect, sentence) in DEFECTS {
        let complaint = run(*defect).expect_err(&format!("{defect:?} was not found"));
        let expected = format!("breaks its contract: \"{sentence}\"");
        assert!(complaint.contains(&expected), "{defect:?} gave: {complaint}");
    }
}

#[test]
fn every_sentence_finds_a_defect() {
    let kept = [run(D::None).unwrap(), run(D::NoLeases).unwrap()].concat();
    assert_eq!(kept.len(), 68 + 40);
    for sentence in kept {
        assert!(DEFECTS.iter().any(|(_, found_by)| *found_by == sentence), "no defect proves: {sentence}");
    }
}

#[test]
fn a_message_says_what_happened() {
    let complaint = run(D::TrimsNewlines).unwrap_err();
    assert_eq!(
        complaint,
        "backend `broken` breaks its contract: \"What `set` stored, `get` returns unchanged.\": \
         get after storing `newline` answered [0d], not [0d, 0a]"
    );
    let complaint = run(D::HangsOnPing).unwrap_err();
    assert!(complaint.ends_with("\"A backend answers a ping.\": no end after 50ms"), "{complaint}");
}

/// The sentences kept, or the message of the panic.
fn run(defect: Defect) -> Result<Vec<&'static str>, String> {
    let suite = std::thread::spawn(move || {
        let clock = ManualClock::new();
        let mut options = BackendOptions::manual(clock.clone());
        if defect == D::HangsOnPing {
            // The check before it ends within one poll, however slow the machine is.
            options = options.patience(Duration::from_millis(50));
        }
        let make = || async { Broken::new(defect, &clock) };
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(backend(make, options))
    });
    suite.join().map_err(|panic| *panic.downcast::<String>().unwrap())
}
