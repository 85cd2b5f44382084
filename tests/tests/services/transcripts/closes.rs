//! Sessions that the bridge closes.

use cc_tests::{harness::StackOptions, ws};
use tokio_tungstenite::tungstenite::{
    Message,
    protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    },
};

use super::record::Transcript;
use super::scene::Scene;

pub(super) async fn text_that_is_not_utf8() -> Transcript {
    let scene = Scene::start().await;
    let mut session = scene.session().await;
    let mut transcript = scene.transcript();
    transcript.line("-> (a text frame with the bytes ff fe)");
    let frame = Frame::message(vec![0xff, 0xfe], OpCode::Data(Data::Text), true);
    session.client.send_frame(Message::Frame(frame)).await;
    assert_eq!(session.client.wait_closed().await, 1007);
    transcript.session(&session.messages());
    transcript
}

pub(super) async fn a_message_that_is_too_long() -> Transcript {
    let scene = Scene::with(StackOptions::default().bridge("--message-bytes=1024")).await;
    let mut session = scene.session().await;
    let mut transcript = scene.transcript();
    transcript.line("-> (a message that is longer than `messageBytes`)");
    let long = Message::text("x".repeat(1025));
    session.client.send_frame(long).await;
    assert_eq!(session.client.wait_closed().await, 1009);
    transcript.session(&session.messages());
    transcript
}

pub(super) async fn a_restart_of_the_bridge() -> Transcript {
    let mut scene = Scene::start().await;
    let session = scene.session().await;
    scene.stack.stop_bridges().await;
    assert_eq!(session.client.wait_closed().await, 1012);
    let mut transcript = scene.transcript();
    transcript.session(&session.messages());
    transcript
}

pub(super) async fn too_many_sessions() -> Transcript {
    let scene = Scene::with(StackOptions::default().bridge("--sessions=1")).await;
    let _first = scene.session().await;
    let options = ws::Options {
        record: true,
        ..ws::Options::default()
    };
    let second = ws::Client::try_connect(scene.stack.ws_addr(), options).await;
    let second = second.expect("an upgrade");
    assert_eq!(second.wait_closed().await, 1013);
    let mut transcript = scene.transcript();
    transcript.session(&second.recorded());
    transcript
}
