//! Behind a proxy, the client's address is what the proxy says of it, and only then.

use serde_json::{Value, json};
use whatsapp_gateway::domain::clock::Ambient;

use super::{NOW, Trusting, until};

async fn ask(it: &Trusting, key: &str, header: (&str, &str)) -> u16 {
    let call = reqwest::Client::new().get(format!("{}/api/v1/sessions", it.gateway.base));
    call.bearer_auth(key).header(header.0, header.1).send().await.unwrap().status().as_u16()
}

async fn addresses(it: &Trusting) -> Vec<Value> {
    let (_, page) = it.get_as(&it.super_admin(), "/api/v1/admin/audit-log?limit=1000").await;
    let refused = page["data"].as_array().unwrap().iter().filter(|entry| entry["outcome"] == "unauthorized");
    refused.map(|entry| entry["address"].clone()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guesses_are_counted_and_recorded_by_the_client_s_address() {
    let it = Trusting::with(Ambient::held(NOW), &[("WAGW_TRUSTED_PROXIES", "127.0.0.0/8".to_owned())]).await;
    for _ in 0..30 {
        assert_eq!(ask(&it, "wa_nobody", ("x-forwarded-for", "6.6.6.6, 203.0.113.9")).await, 401);
    }
    assert_eq!(ask(&it, "wa_nobody", ("forwarded", "for=203.0.113.9")).await, 429, "the same client");
    assert_eq!(ask(&it, "wa_nobody", ("x-forwarded-for", "203.0.113.10")).await, 401, "another one");
    until("both are on record", async || {
        let found = addresses(&it).await;
        [json!("203.0.113.9"), json!("203.0.113.10")].iter().all(|one| found.contains(one)).then_some(())
    })
    .await;
    it.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_trusted_proxy_nobody_chooses_an_address() {
    let it = Trusting::held().await;
    for n in 0..30 {
        assert_eq!(ask(&it, "wa_nobody", ("x-forwarded-for", &format!("203.0.113.{n}"))).await, 401);
    }
    assert_eq!(ask(&it, "wa_nobody", ("x-forwarded-for", "203.0.113.99")).await, 429);
    until("it is on record", async || addresses(&it).await.contains(&json!("127.0.0.1")).then_some(())).await;
    assert!(addresses(&it).await.iter().all(|address| address == "127.0.0.1"));
    it.stop().await;
}
