//! Paths among many certificates: the right one is found, in bounded time.

use super::*;

#[test]
fn unrelated_and_repeated_certificates_do_not_spoil_a_chain() {
    let (root, stranger) = (root(ca_params("root")), root(ca_params("stranger")));
    let middle = intermediate(ca_params("middle"), &root);
    let leaf = leaf(params("leaf"), &middle);
    let mut chain = vec![leaf, stranger.der().clone()];
    chain.extend(vec![middle.der().clone(); 7]);
    let judgement = store_of(&[&root]).judge(&chain, NOW);
    let Verdict::Success(path) = judgement.verdict else {
        panic!("{judgement:?}")
    };
    assert_eq!(path.intermediates.len(), 1);
}

#[test]
fn few_certificates_of_one_subject_are_tried() {
    let root = root(ca_params("root"));
    let same: Vec<_> = (0..9).map(|_| leaf(ca_params("same"), &root)).collect();
    assert_eq!(issuer_candidates(&same).len(), SAME_SUBJECT_MAX);
    let different: Vec<_> = (0..9)
        .map(|n| leaf(ca_params(&n.to_string()), &root))
        .collect();
    assert_eq!(issuer_candidates(&different).len(), 9);
}

/// The issuer itself may come third among its namesakes; behind more it is not looked for.
#[test]
fn an_issuer_behind_too_many_namesakes_is_not_found() {
    let root = root(ca_params("root"));
    let store = store_of(&[&root]);
    let issuer = intermediate(ca_params("same"), &root);
    let client = leaf(params("client"), &issuer);
    let chain = |namesakes: usize| {
        let namesakes = (0..namesakes).map(|_| leaf(ca_params("same"), &root));
        let behind: Vec<_> = namesakes.chain([issuer.der().clone()]).collect();
        [std::slice::from_ref(&client), &behind].concat()
    };
    let within = store.judge(&chain(SAME_SUBJECT_MAX - 1), NOW).verdict;
    assert!(matches!(within, Verdict::Success(_)), "{within:?}");
    let beyond = refusal(&store, &chain(SAME_SUBJECT_MAX));
    assert_eq!(beyond, Reason::SignatureFailure);
}

/// One CA key, certified by an old root and by a new one, as while roots are replaced: whichever of the two is trusted, in
/// whatever order the chain comes, and also where both stand in it beside a third that expired.
#[test]
fn a_cross_signed_ca_leads_to_whichever_root_is_trusted() {
    let (old, new) = (root(ca_params("old root")), root(ca_params("new root")));
    let key = KeyPair::generate().unwrap();
    let certified = |by: &Issuer, end| {
        let mut params = ca_params("cross-signed");
        params.not_after = date_time_ymd(end, 1, 1);
        params.signed_by(&key, by).unwrap().der().clone()
    };
    let (by_old, by_new, ended) = (
        certified(&old, 2027),
        certified(&new, 2027),
        certified(&new, 2026),
    );
    let issuer = rcgen::Issuer::new(ca_params("cross-signed"), &key);
    let client = params("client")
        .signed_by(&KeyPair::generate().unwrap(), &issuer)
        .unwrap()
        .der()
        .clone();
    for trusted in [&old, &new] {
        let store = store_of(&[trusted]);
        for others in [
            vec![&by_old, &by_new],
            vec![&by_new, &by_old],
            vec![&ended, &by_old, &by_new],
        ] {
            let chain: Vec<_> = std::iter::once(&client).chain(others).cloned().collect();
            let Verdict::Success(path) = store.judge(&chain, NOW).verdict else {
                panic!("{:?}", store.judge(&chain, NOW));
            };
            assert_eq!(*path.anchor, *trusted.der());
            assert_eq!(path.intermediates.len(), 1);
        }
    }
}

#[test]
fn chains_made_to_cost_time_are_refused_quickly() {
    // Nine certificates that each name each other as issuer, and nine under three names in a
    // ring. webpki tries the orders of such certificates, up to 200 000 steps of nine parsings.
    let store = store_of(&[&root(ca_params("root"))]);
    for ring in [&["a"][..], &["a", "b", "c"]] {
        let issuers: Vec<Issuer> = ring.iter().map(|name| root(ca_params(name))).collect();
        let mut chain = vec![leaf(params("leaf"), &issuers[0])];
        for at in 0..9 {
            let issuer = &issuers[(at + 1) % ring.len()];
            chain.push(leaf(ca_params(ring[at % ring.len()]), issuer));
        }
        let start = std::time::Instant::now();
        let reason = refusal(&store, &chain);
        let took = start.elapsed();
        println!("{reason:?} after {took:?}");
        assert!(took < Duration::from_millis(250), "{ring:?} took {took:?}");
    }
}
