//! The steps, one function each; a few hand something to the next.

use std::time::Duration;

use prost_types::Struct;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Code, Status, Streaming};

use crate::proto::waymark::auth::v1::{
    auth_service_client::AuthServiceClient, Role, WhoAmIRequest,
};
use crate::proto::waymark::geo::v1::fence_service_client::FenceServiceClient;
use crate::proto::waymark::geo::v1::track_service_client::TrackServiceClient;
use crate::proto::waymark::geo::v1::*;
use crate::proto::waymark::workflow::v1::chart_service_client::ChartServiceClient;
use crate::proto::waymark::workflow::v1::task_service_client::TaskServiceClient;
use crate::proto::waymark::workflow::v1::work_tasks_request::Kind;
use crate::proto::waymark::workflow::v1::workflow_service_client::WorkflowServiceClient;
use crate::proto::waymark::workflow::v1::*;
use crate::{check, explained, list, number, object, text, Outcome, Scenario};

const ITEM: &str = "Bücher 📚";

fn done(step: &str) {
    println!("ok {step}");
}

pub async fn run(s: &mut Scenario) -> Outcome<()> {
    login(s).await?;
    done("login");
    refused(s).await?;
    done("refused");
    fence(s).await?;
    done("fence");
    report(s).await?;
    done("report");
    search(s).await?;
    done("search");
    stream(s).await?;
    done("stream");
    let watch = watch(s).await?;
    done("watch");
    cancel(watch).await?;
    done("cancel");
    deadline(s).await?;
    done("deadline");
    chart(s).await?;
    done("chart");
    start(s).await?;
    done("start");
    event(s).await?;
    done("event");
    work(s).await?;
    done("work");
    field(s).await?;
    done("field");
    missing(s).await?;
    done("missing");
    Ok(())
}

async fn login(s: &mut Scenario) -> Outcome<()> {
    s.log_in()?;
    let mut auth = AuthServiceClient::new(s.channel.clone());
    let me = auth
        .who_am_i(s.request(WhoAmIRequest::default()))
        .await?
        .into_inner();
    check!(
        me.principal == format!("{}#{}", s.settings.issuer, s.settings.name),
        me
    );
    check!(me.roles == [Role::Operator as i32, Role::Worker as i32], me);
    Ok(())
}

async fn refused(s: &Scenario) -> Outcome<()> {
    let mut auth = AuthServiceClient::new(s.channel.clone());
    let status = explained(auth.who_am_i(s.anonymous(WhoAmIRequest::default())).await)?;
    check!(
        status
            == (
                Code::Unauthenticated,
                "TOKEN_MISSING".into(),
                "waymark".into(),
                vec![]
            ),
        status
    );
    Ok(())
}

fn square(west: f64) -> Struct {
    let corners = [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0), (0.0, 0.0)];
    let ring = corners.map(|(east, north)| list(vec![number(west + east), number(north)]));
    object([
        ("type", text("Polygon")),
        ("coordinates", list(vec![list(ring.to_vec())])),
    ])
}

async fn fence(s: &Scenario) -> Outcome<()> {
    let fence = Fence {
        fence_id: s.own("yard"),
        geometry: Some(square(s.settings.west)),
        ..Default::default()
    };
    let request = CreateFenceRequest {
        fence: Some(fence.clone()),
        ..Default::default()
    };
    let mut fences = FenceServiceClient::new(s.channel.clone());
    let made = fences
        .create_fence(s.request(request))
        .await?
        .into_inner()
        .fence
        .ok_or("no fence")?;
    check!(
        made.fence_id == fence.fence_id && !made.etag.is_empty(),
        made
    );
    check!(made.geometry == fence.geometry, made);
    Ok(())
}

async fn report_positions(
    s: &Scenario,
    positions: Vec<Position>,
) -> Outcome<ReportPositionsResponse> {
    let request = ReportPositionsRequest {
        positions,
        ..Default::default()
    };
    Ok(TrackServiceClient::new(s.channel.clone())
        .report_positions(s.request(request))
        .await?
        .into_inner())
}

async fn report(s: &mut Scenario) -> Outcome<()> {
    let reply = report_positions(s, vec![s.fix("van", 0, 2.0), s.fix("van", 60, 0.5)]).await?;
    check!(reply.outcomes == [PositionOutcome::Stored as i32; 2], reply);
    check!(reply.crossings.len() == 1, reply);
    let crossing = &reply.crossings[0];
    check!(
        (&crossing.entity_id, &crossing.fence_id) == (&s.own("van"), &s.own("yard")),
        reply
    );
    check!(crossing.kind() == CrossingKind::Enter, reply);
    check!(
        crossing
            .time
            .as_ref()
            .is_some_and(|time| time.seconds == 1_700_000_060),
        reply
    );
    s.revision = reply.revision;
    Ok(())
}

async fn search(s: &Scenario) -> Outcome<()> {
    let request = SearchNearbyRequest {
        lon_deg: s.settings.west + 0.5,
        lat_deg: 0.5,
        limit: 1,
        revision: s.revision.clone(),
        ..Default::default()
    };
    let mut tracks = TrackServiceClient::new(s.channel.clone());
    let found = tracks
        .search_nearby(s.request(request))
        .await?
        .into_inner()
        .entities;
    check!(found.len() == 1 && found[0].distance_m < 1.0, found);
    check!(
        found[0]
            .position
            .as_ref()
            .is_some_and(|at| at.entity_id == s.own("van")),
        found
    );
    Ok(())
}

/// Twenty messages through the yard: acknowledged in order, in at the 5th, out at the 15th.
async fn stream(s: &Scenario) -> Outcome<()> {
    let messages: Vec<_> = (1..=20i64)
        .map(|n| StreamPositionsRequest {
            sequence: n,
            positions: vec![s.fix("bike", n, n as f64 / 10.0 - 0.45)],
            ..Default::default()
        })
        .collect();
    let mut tracks = TrackServiceClient::new(s.channel.clone());
    let mut replies = tracks
        .stream_positions(s.request(tokio_stream::iter(messages)))
        .await?
        .into_inner();
    let (mut order, mut crossings) = (vec![], vec![]);
    while let Some(reply) = replies.message().await? {
        order.push(reply.sequence);
        crossings.extend(
            reply
                .crossings
                .iter()
                .map(|crossing| (reply.sequence, crossing.kind())),
        );
    }
    check!(order == (1..=20).collect::<Vec<i64>>(), order);
    check!(
        crossings == [(5, CrossingKind::Enter), (15, CrossingKind::Exit)],
        crossings
    );
    Ok(())
}

/// The first message says that the watch is on: what is committed after it is seen, and the ENTER
/// of just before may be.
async fn watch(s: &Scenario) -> Outcome<Streaming<WatchFenceEventsResponse>> {
    let request = WatchFenceEventsRequest {
        entity_ids: vec![s.own("van")],
        ..Default::default()
    };
    let mut fences = FenceServiceClient::new(s.channel.clone());
    let mut watch = fences
        .watch_fence_events(s.request(request))
        .await?
        .into_inner();
    let first = watch.message().await?.ok_or("the watch ended")?;
    check!(!first.resume_token.is_empty(), first);
    report_positions(s, vec![s.fix("van", 120, 2.0)]).await?;
    let events = loop {
        let reply = watch.message().await?.ok_or("the watch ended")?;
        if reply.events.iter().any(|e| e.kind() != CrossingKind::Enter) {
            break reply.events;
        }
    };
    check!(
        events.len() == 1 && events[0].kind() == CrossingKind::Exit,
        events
    );
    check!(events[0].fence_id == s.own("yard"), events);
    Ok(watch)
}

/// In Rust a call is cancelled by dropping it, after which nobody is left to see a status; the
/// server's log, which the runner reads, has it.
async fn cancel(watch: Streaming<WatchFenceEventsResponse>) -> Outcome<()> {
    drop(watch);
    Ok(())
}

async fn end_of<T>(mut call: Streaming<T>) -> Outcome<Status> {
    loop {
        match call.message().await {
            Ok(Some(_)) => continue,
            Ok(None) => return Err("the call ended by itself".into()),
            Err(status) => return Ok(status),
        }
    }
}

async fn deadline(s: &Scenario) -> Outcome<()> {
    let mut request = s.request(WatchPositionsRequest {
        entity_ids: vec![s.own("nobody")],
        ..Default::default()
    });
    request.set_timeout(Duration::from_millis(300));
    let mut tracks = TrackServiceClient::new(s.channel.clone());
    let status = match tracks.watch_positions(request).await {
        Ok(watch) => end_of(watch.into_inner()).await?,
        Err(status) => status,
    };
    /* tonic says Cancelled when its own timer was first, DeadlineExceeded when the server was. */
    check!(
        matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled),
        status
    );
    Ok(())
}

fn parcel(s: &Scenario) -> Chart {
    let weigh = StartTask {
        name: "weigh".into(),
        queue: s.own("scale"),
        input: [("item".to_owned(), "event.data.item".to_owned())].into(),
        ..Default::default()
    };
    let keep = Assign {
        variable: "grams".into(),
        expression: "event.data.grams".into(),
    };
    let waiting = State {
        id: "waiting".into(),
        transitions: vec![Transition {
            event: "pack".into(),
            targets: vec!["packing".into()],
            ..Default::default()
        }],
        ..Default::default()
    };
    let packing = State {
        id: "packing".into(),
        on_entry: vec![Action {
            kind: Some(action::Kind::StartTask(weigh)),
        }],
        transitions: vec![Transition {
            event: "done.task.weigh".into(),
            targets: vec!["sent".into()],
            actions: vec![Action {
                kind: Some(action::Kind::Assign(keep)),
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let sent = State {
        id: "sent".into(),
        kind: StateKind::Final as i32,
        ..Default::default()
    };
    Chart {
        chart_id: s.own("parcel"),
        initial: vec!["waiting".into()],
        states: vec![waiting, packing, sent],
        data: Some(object([("grams", number(0.0))])),
        ..Default::default()
    }
}

async fn chart(s: &Scenario) -> Outcome<()> {
    let request = PutChartRequest {
        chart: Some(parcel(s)),
        ..Default::default()
    };
    let reply = ChartServiceClient::new(s.channel.clone())
        .put_chart(s.request(request))
        .await?
        .into_inner();
    check!((reply.version, reply.created) == (1, true), reply);
    Ok(())
}

async fn start(s: &Scenario) -> Outcome<()> {
    let request = StartInstanceRequest {
        chart_id: s.own("parcel"),
        instance_id: s.own("parcel-1"),
        request_id: "start-1".into(),
        ..Default::default()
    };
    let mut flows = WorkflowServiceClient::new(s.channel.clone());
    let first = flows
        .start_instance(s.request(request.clone()))
        .await?
        .into_inner();
    check!(first.created, first);
    check!(
        first
            .instance
            .as_ref()
            .is_some_and(|instance| instance.configuration == ["waiting"]),
        first
    );
    let again = flows.start_instance(s.request(request)).await?.into_inner();
    check!(!again.created, again);
    Ok(())
}

async fn event(s: &Scenario) -> Outcome<()> {
    let request = SendEventRequest {
        instance_id: s.own("parcel-1"),
        event: "pack".into(),
        data: Some(object([("item", text(ITEM))])),
        ..Default::default()
    };
    let reply = WorkflowServiceClient::new(s.channel.clone())
        .send_event(s.request(request))
        .await?
        .into_inner();
    check!(reply.handled && reply.configuration == ["packing"], reply);
    check!(reply.status() == InstanceStatus::Running, reply);
    Ok(())
}

/// Takes the task, gives its result, sees it acknowledged, and what became of the instance.
async fn work(s: &Scenario) -> Outcome<()> {
    let (outgoing, requests) = mpsc::unbounded_channel();
    let send = |kind| {
        outgoing.send(WorkTasksRequest {
            kind: Some(kind),
            ..Default::default()
        })
    };
    send(Kind::Open(OpenWorker {
        queues: vec![s.own("scale")],
        credits: 1,
        worker: s.own("worker"),
    }))?;
    let mut tasks = TaskServiceClient::new(s.channel.clone());
    let requests = UnboundedReceiverStream::new(requests);
    let mut replies = tasks.work_tasks(s.request(requests)).await?.into_inner();

    let tasks = loop {
        let reply = replies.message().await?.ok_or("the stream ended")?;
        if !reply.tasks.is_empty() {
            break reply.tasks;
        }
    };
    check!(
        tasks.len() == 1 && tasks[0].name == "weigh" && tasks[0].attempt == 1,
        tasks
    );
    check!(
        tasks[0].input == Some(object([("item", text(ITEM))])),
        tasks
    );
    let lease_token = tasks[0].lease_token.clone();
    let result = Some(object([("grams", number(120.5))]));
    send(Kind::Result(TaskResult {
        lease_token: lease_token.clone(),
        result,
        ..Default::default()
    }))?;
    let acks = loop {
        let reply = replies.message().await?.ok_or("the stream ended")?;
        if !reply.acks.is_empty() {
            break reply.acks;
        }
    };
    check!(
        acks.len() == 1 && acks[0].code == 0 && acks[0].lease_token == lease_token,
        acks
    );
    drop(outgoing);
    check!(
        replies.message().await?.is_none(),
        "the stream goes on after its end"
    );

    let request = GetInstanceRequest {
        instance_id: s.own("parcel-1"),
        ..Default::default()
    };
    let mut flows = WorkflowServiceClient::new(s.channel.clone());
    let instance = flows
        .get_instance(s.request(request))
        .await?
        .into_inner()
        .instance
        .ok_or("none")?;
    check!(instance.status() == InstanceStatus::Ended, instance);
    check!(
        instance.data == Some(object([("grams", number(120.5))])),
        instance
    );
    Ok(())
}

async fn field(s: &Scenario) -> Outcome<()> {
    let positions = vec![s.fix("van", 180, 0.0), s.fix("van", 240, 361.0)];
    let request = ReportPositionsRequest {
        positions,
        ..Default::default()
    };
    let mut tracks = TrackServiceClient::new(s.channel.clone());
    let status = explained(tracks.report_positions(s.request(request)).await)?;
    let fields = vec!["positions[1].lon_deg".to_owned()];
    check!(
        status
            == (
                Code::InvalidArgument,
                "COORDINATE_OUT_OF_RANGE".into(),
                "waymark".into(),
                fields.clone()
            ),
        status
    );
    Ok(())
}

async fn missing(s: &Scenario) -> Outcome<()> {
    let request = GetEntityRequest {
        entity_id: s.own("nobody"),
        ..Default::default()
    };
    let mut tracks = TrackServiceClient::new(s.channel.clone());
    let status = explained(tracks.get_entity(s.request(request)).await)?;
    check!(
        status
            == (
                Code::NotFound,
                "ENTITY_NOT_FOUND".into(),
                "waymark".into(),
                vec![]
            ),
        status
    );
    Ok(())
}
