//! Votes in polls, opened. Pure.

use wacore::poll::{PollVoteCiphertext, compute_option_hash, decrypt_poll_vote_with_secret};

use super::normalize::Sealed;

/// What a vote chose of `options`; `None` when it cannot be opened with what is given. The addresses of who made the poll and of who
/// votes are part of the key, and either may have been meant by LID or by number, so all that are known are tried.
pub fn open(
    sealed: &Sealed,
    secret: &[u8],
    poll_id: &str,
    creators: &[String],
    voters: &[String],
    options: &[String],
) -> Option<Vec<String>> {
    let ciphertext = PollVoteCiphertext { enc_payload: &sealed.payload, enc_iv: &sealed.iv };
    let pairs = creators.iter().flat_map(|creator| voters.iter().map(move |voter| (creator, voter)));
    let mut opened =
        pairs.filter_map(|(creator, voter)| decrypt_poll_vote_with_secret(ciphertext, secret, poll_id, creator, voter).ok());
    let chosen = opened.next()?;
    let is_chosen = |option: &&String| chosen.iter().any(|hash| hash[..] == compute_option_hash(option)[..]);
    Some(options.iter().filter(is_chosen).cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vote_opens_under_whichever_addresses_it_was_sealed_with_and_under_no_others() {
        let secret = [7u8; 32];
        let options = ["tea".to_owned(), "coffee".to_owned()];
        let (pn, lid, voter_pn, voter_lid) = ("1@s.whatsapp.net", "9@lid", "2@s.whatsapp.net", "8@lid");
        let hash = compute_option_hash("coffee").to_vec();
        for (creator, voter) in [(pn, voter_pn), (lid, voter_lid)] {
            let (payload, iv) =
                wacore::poll::encrypt_poll_vote_with_secret(std::slice::from_ref(&hash), &secret, "P", creator, voter).unwrap();
            let sealed = Sealed { payload, iv: iv.to_vec() };
            let all = |of: &[&str]| of.iter().map(|&it| it.to_owned()).collect::<Vec<String>>();
            let open = |creators: &[&str], voters: &[&str]| open(&sealed, &secret, "P", &all(creators), &all(voters), &options);
            assert_eq!(open(&[pn, lid], &[voter_pn, voter_lid]), Some(vec!["coffee".to_owned()]));
            assert_eq!(open(&["3@lid"], &[voter_pn, voter_lid]), None);
            assert_eq!(open(&[pn, lid], &[]), None);
        }
    }
}
