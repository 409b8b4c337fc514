package waymark.scenario;

import static waymark.scenario.Calls.TIMEOUT_S;
import static waymark.scenario.Calls.check;
import static waymark.scenario.Calls.explained;

import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Struct;
import com.google.protobuf.Timestamp;
import com.google.protobuf.util.JsonFormat;
import com.google.protobuf.util.Structs;
import com.google.protobuf.util.Values;
import io.grpc.Channel;
import io.grpc.Status;
import io.grpc.stub.AbstractStub;
import io.grpc.stub.StreamObserver;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import waymark.auth.v1.AuthServiceGrpc;
import waymark.auth.v1.AuthServiceOuterClass.WhoAmIRequest;
import waymark.auth.v1.AuthServiceOuterClass.WhoAmIResponse;
import waymark.auth.v1.GrantOuterClass.Role;
import waymark.geo.v1.FenceServiceGrpc;
import waymark.geo.v1.FenceServiceOuterClass.CreateFenceRequest;
import waymark.geo.v1.FenceServiceOuterClass.WatchFenceEventsRequest;
import waymark.geo.v1.FenceServiceOuterClass.WatchFenceEventsResponse;
import waymark.geo.v1.Geo.Crossing;
import waymark.geo.v1.Geo.CrossingKind;
import waymark.geo.v1.Geo.Fence;
import waymark.geo.v1.Geo.FenceEvent;
import waymark.geo.v1.Geo.NearbyEntity;
import waymark.geo.v1.Geo.Position;
import waymark.geo.v1.Geo.PositionOutcome;
import waymark.geo.v1.TrackServiceGrpc;
import waymark.geo.v1.TrackServiceOuterClass.GetEntityRequest;
import waymark.geo.v1.TrackServiceOuterClass.ReportPositionsRequest;
import waymark.geo.v1.TrackServiceOuterClass.ReportPositionsResponse;
import waymark.geo.v1.TrackServiceOuterClass.SearchNearbyRequest;
import waymark.geo.v1.TrackServiceOuterClass.StreamPositionsRequest;
import waymark.geo.v1.TrackServiceOuterClass.StreamPositionsResponse;
import waymark.geo.v1.TrackServiceOuterClass.WatchPositionsRequest;
import waymark.geo.v1.TrackServiceOuterClass.WatchPositionsResponse;
import waymark.workflow.v1.ChartOuterClass.Action;
import waymark.workflow.v1.ChartOuterClass.Assign;
import waymark.workflow.v1.ChartOuterClass.Chart;
import waymark.workflow.v1.ChartOuterClass.StartTask;
import waymark.workflow.v1.ChartOuterClass.State;
import waymark.workflow.v1.ChartOuterClass.StateKind;
import waymark.workflow.v1.ChartOuterClass.Transition;
import waymark.workflow.v1.ChartServiceGrpc;
import waymark.workflow.v1.ChartServiceOuterClass.PutChartRequest;
import waymark.workflow.v1.ChartServiceOuterClass.PutChartResponse;
import waymark.workflow.v1.InstanceOuterClass.Instance;
import waymark.workflow.v1.InstanceOuterClass.InstanceStatus;
import waymark.workflow.v1.TaskOuterClass.Task;
import waymark.workflow.v1.TaskServiceGrpc;
import waymark.workflow.v1.TaskServiceOuterClass.OpenWorker;
import waymark.workflow.v1.TaskServiceOuterClass.TaskAck;
import waymark.workflow.v1.TaskServiceOuterClass.TaskResult;
import waymark.workflow.v1.TaskServiceOuterClass.WorkTasksRequest;
import waymark.workflow.v1.TaskServiceOuterClass.WorkTasksResponse;
import waymark.workflow.v1.WorkflowServiceGrpc;
import waymark.workflow.v1.WorkflowServiceOuterClass.GetInstanceRequest;
import waymark.workflow.v1.WorkflowServiceOuterClass.SendEventRequest;
import waymark.workflow.v1.WorkflowServiceOuterClass.SendEventResponse;
import waymark.workflow.v1.WorkflowServiceOuterClass.StartInstanceRequest;
import waymark.workflow.v1.WorkflowServiceOuterClass.StartInstanceResponse;

/** The steps, in order; a few hand something to the next. */
final class Scenario {
    private static final String ITEM = "Bücher 📚";
    private static final long BEGIN_S = 1_700_000_000;

    private final Channel channel;
    private final String issuer;
    private final String name;
    private final double west;
    private Main.Bearer token;
    private String revision;
    private Calls.Replies<WatchFenceEventsRequest, WatchFenceEventsResponse> watchCall;

    private interface Step {
        void run() throws Exception;
    }

    Scenario(Channel channel, String issuer, String name, double west) {
        this.channel = channel;
        this.issuer = issuer;
        this.name = name;
        this.west = west;
    }

    void run() throws Exception {
        step("login", this::login);
        step("refused", this::refused);
        step("fence", this::fence);
        step("report", this::report);
        step("search", this::search);
        step("stream", this::stream);
        step("watch", this::watch);
        step("cancel", this::cancel);
        step("deadline", this::deadline);
        step("chart", this::chart);
        step("start", this::start);
        step("event", this::event);
        step("work", this::work);
        step("field", this::field);
        step("missing", this::missing);
    }

    private static void step(String name, Step step) throws Exception {
        step.run();
        System.out.println("ok " + name);
    }

    /** The stub as the logged-in client, with the usual deadline. */
    private <S extends AbstractStub<S>> S me(S stub) {
        return stub.withCallCredentials(token).withDeadlineAfter(TIMEOUT_S, TimeUnit.SECONDS);
    }

    private String own(String suffix) {
        return name + "-" + suffix;
    }

    private static Timestamp at(long second) {
        return Timestamp.newBuilder().setSeconds(BEGIN_S + second).build();
    }

    /** Where `entity` was, in degrees east of our own piece of the world. */
    private Position fix(String entity, long second, double east) {
        return Position.newBuilder()
                .setEntityId(own(entity))
                .setTime(at(second))
                .setLonDeg(west + east)
                .setLatDeg(0.5)
                .build();
    }

    private void login() throws Exception {
        token = Main.logIn();
        WhoAmIResponse who = me(AuthServiceGrpc.newBlockingStub(channel)).whoAmI(WhoAmIRequest.getDefaultInstance());
        check(who.getPrincipal().equals(issuer + "#" + name), who);
        check(who.getRolesList().equals(List.of(Role.ROLE_OPERATOR, Role.ROLE_WORKER)), who);
    }

    private void refused() throws Exception {
        var anonymous = AuthServiceGrpc.newBlockingStub(channel).withDeadlineAfter(TIMEOUT_S, TimeUnit.SECONDS);
        String end = explained(() -> anonymous.whoAmI(WhoAmIRequest.getDefaultInstance()));
        check(end.equals("UNAUTHENTICATED TOKEN_MISSING waymark []"), end);
    }

    private void fence() throws InvalidProtocolBufferException {
        String square = "{'type': 'Polygon', 'coordinates': [[[W,0], [E,0], [E,1], [W,1], [W,0]]]}";
        Struct.Builder geometry = Struct.newBuilder();
        String text = square.replace("W", "" + west).replace("E", "" + (west + 1)).replace("'", "\"");
        JsonFormat.parser().merge(text, geometry);
        Fence fence = Fence.newBuilder().setFenceId(own("yard")).setGeometry(geometry).build();
        Fence made =
                me(FenceServiceGrpc.newBlockingStub(channel))
                        .createFence(CreateFenceRequest.newBuilder().setFence(fence).build())
                        .getFence();
        check(made.getFenceId().equals(fence.getFenceId()) && !made.getEtag().isEmpty(), made);
        check(made.getGeometry().equals(fence.getGeometry()), made);
    }

    private ReportPositionsResponse reportPositions(Position... fixes) {
        var request = ReportPositionsRequest.newBuilder().addAllPositions(List.of(fixes)).build();
        return me(TrackServiceGrpc.newBlockingStub(channel)).reportPositions(request);
    }

    private void report() {
        ReportPositionsResponse reply = reportPositions(fix("van", 0, 2), fix("van", 60, 0.5));
        PositionOutcome stored = PositionOutcome.POSITION_OUTCOME_STORED;
        check(reply.getOutcomesList().equals(List.of(stored, stored)), reply);
        Crossing crossing =
                Crossing.newBuilder()
                        .setEntityId(own("van"))
                        .setFenceId(own("yard"))
                        .setKind(CrossingKind.CROSSING_KIND_ENTER)
                        .setTime(at(60))
                        .build();
        check(reply.getCrossingsList().equals(List.of(crossing)), reply);
        revision = reply.getRevision();
    }

    private void search() {
        var request =
                SearchNearbyRequest.newBuilder()
                        .setLonDeg(west + 0.5)
                        .setLatDeg(0.5)
                        .setLimit(1)
                        .setRevision(revision)
                        .build();
        List<NearbyEntity> found =
                me(TrackServiceGrpc.newBlockingStub(channel)).searchNearby(request).getEntitiesList();
        check(found.size() == 1 && found.get(0).getDistanceM() < 1, found);
        check(found.get(0).getPosition().getEntityId().equals(own("van")), found);
    }

    /** Twenty messages through the yard: acknowledged in order, in at the 5th, out at the 15th. */
    private void stream() throws InterruptedException {
        var replies = new Calls.Replies<StreamPositionsRequest, StreamPositionsResponse>();
        var requests = me(TrackServiceGrpc.newStub(channel)).streamPositions(replies);
        for (int n = 1; n <= 20; n++) {
            Position fix = fix("bike", n, n / 10.0 - 0.45);
            requests.onNext(StreamPositionsRequest.newBuilder().setSequence(n).addPositions(fix).build());
        }
        requests.onCompleted();
        List<String> crossings = new ArrayList<>();
        for (int n = 1; n <= 20; n++) {
            StreamPositionsResponse reply = replies.next();
            check(reply.getSequence() == n, reply);
            reply.getCrossingsList().forEach(c -> crossings.add(reply.getSequence() + " " + c.getKind()));
        }
        check(replies.next() == null, "the stream goes on");
        check(crossings.equals(List.of("5 CROSSING_KIND_ENTER", "15 CROSSING_KIND_EXIT")), crossings);
    }

    /** The first message says that the watch is on; what is committed after it is seen. */
    private void watch() throws InterruptedException {
        watchCall = new Calls.Replies<>();
        var request = WatchFenceEventsRequest.newBuilder().addEntityIds(own("van")).build();
        me(FenceServiceGrpc.newStub(channel)).watchFenceEvents(request, watchCall);
        check(!watchCall.next().getResumeToken().isEmpty(), "no resume token");
        reportPositions(fix("van", 120, 2));
        List<FenceEvent> events = List.of();
        // The ENTER of just before may still come.
        while (events.isEmpty() || events.get(0).getKind() == CrossingKind.CROSSING_KIND_ENTER) {
            events = watchCall.next().getEventsList();
        }
        check(events.size() == 1 && events.get(0).getKind() == CrossingKind.CROSSING_KIND_EXIT, events);
        check(events.get(0).getFenceId().equals(own("yard")), events);
    }

    private void cancel() throws InterruptedException {
        watchCall.cancel();
        Status.Code end = watchCall.error();
        check(end == Status.Code.CANCELLED, end);
    }

    private void deadline() throws InterruptedException {
        var replies = new Calls.Replies<WatchPositionsRequest, WatchPositionsResponse>();
        var request = WatchPositionsRequest.newBuilder().addEntityIds(own("nobody")).build();
        me(TrackServiceGrpc.newStub(channel))
                .withDeadlineAfter(300, TimeUnit.MILLISECONDS)
                .watchPositions(request, replies);
        Status.Code end = replies.error();
        check(end == Status.Code.DEADLINE_EXCEEDED, end);
    }

    private void chart() {
        StartTask weigh =
                StartTask.newBuilder()
                        .setName("weigh")
                        .setQueue(own("scale"))
                        .putInput("item", "event.data.item")
                        .build();
        Assign keep = Assign.newBuilder().setVariable("grams").setExpression("event.data.grams").build();
        Transition pack = Transition.newBuilder().setEvent("pack").addTargets("packing").build();
        Transition done =
                Transition.newBuilder()
                        .setEvent("done.task.weigh")
                        .addTargets("sent")
                        .addActions(Action.newBuilder().setAssign(keep))
                        .build();
        Chart chart =
                Chart.newBuilder()
                        .setChartId(own("parcel"))
                        .addInitial("waiting")
                        .addStates(State.newBuilder().setId("waiting").addTransitions(pack))
                        .addStates(
                                State.newBuilder()
                                        .setId("packing")
                                        .addOnEntry(Action.newBuilder().setStartTask(weigh))
                                        .addTransitions(done))
                        .addStates(State.newBuilder().setId("sent").setKind(StateKind.STATE_KIND_FINAL))
                        .setData(Structs.of("grams", Values.of(0)))
                        .build();
        PutChartResponse reply =
                me(ChartServiceGrpc.newBlockingStub(channel))
                        .putChart(PutChartRequest.newBuilder().setChart(chart).build());
        check(reply.getVersion() == 1 && reply.getCreated(), reply);
    }

    private void start() {
        var request =
                StartInstanceRequest.newBuilder()
                        .setChartId(own("parcel"))
                        .setInstanceId(own("parcel-1"))
                        .setRequestId("start-1")
                        .build();
        var flows = WorkflowServiceGrpc.newBlockingStub(channel);
        StartInstanceResponse first = me(flows).startInstance(request);
        check(first.getCreated(), first);
        check(first.getInstance().getConfigurationList().equals(List.of("waiting")), first);
        check(!me(flows).startInstance(request).getCreated(), "started twice");
    }

    private void event() {
        var request =
                SendEventRequest.newBuilder()
                        .setInstanceId(own("parcel-1"))
                        .setEvent("pack")
                        .setData(Structs.of("item", Values.of(ITEM)))
                        .build();
        SendEventResponse reply = me(WorkflowServiceGrpc.newBlockingStub(channel)).sendEvent(request);
        check(reply.getHandled() && reply.getConfigurationList().equals(List.of("packing")), reply);
        check(reply.getStatus() == InstanceStatus.INSTANCE_STATUS_RUNNING, reply);
    }

    /** Takes the task, gives its result, sees it acknowledged, and what became of the instance. */
    private void work() throws InterruptedException {
        var replies = new Calls.Replies<WorkTasksRequest, WorkTasksResponse>();
        StreamObserver<WorkTasksRequest> requests = me(TaskServiceGrpc.newStub(channel)).workTasks(replies);
        OpenWorker open = OpenWorker.newBuilder().addQueues(own("scale")).setCredits(1).setWorker(name).build();
        requests.onNext(WorkTasksRequest.newBuilder().setOpen(open).build());
        List<Task> tasks = List.of();
        while (tasks.isEmpty()) {
            tasks = replies.next().getTasksList();
        }
        Task task = tasks.get(0);
        check(tasks.size() == 1 && task.getName().equals("weigh") && task.getAttempt() == 1, tasks);
        check(task.getInput().equals(Structs.of("item", Values.of(ITEM))), tasks);

        Struct grams = Structs.of("grams", Values.of(120.5));
        TaskResult result = TaskResult.newBuilder().setLeaseToken(task.getLeaseToken()).setResult(grams).build();
        requests.onNext(WorkTasksRequest.newBuilder().setResult(result).build());
        List<TaskAck> acks = List.of();
        while (acks.isEmpty()) {
            acks = replies.next().getAcksList();
        }
        check(acks.size() == 1 && acks.get(0).getCode() == 0, acks);
        check(acks.get(0).getLeaseToken().equals(task.getLeaseToken()), acks);
        requests.onCompleted();
        check(replies.next() == null, "the stream goes on after its end");

        var request = GetInstanceRequest.newBuilder().setInstanceId(own("parcel-1")).build();
        Instance instance =
                me(WorkflowServiceGrpc.newBlockingStub(channel)).getInstance(request).getInstance();
        check(instance.getStatus() == InstanceStatus.INSTANCE_STATUS_ENDED, instance);
        check(instance.getData().equals(grams), instance);
    }

    private void field() throws InvalidProtocolBufferException {
        String end = explained(() -> reportPositions(fix("van", 180, 0), fix("van", 240, 361)));
        check(end.equals("INVALID_ARGUMENT COORDINATE_OUT_OF_RANGE waymark [positions[1].lon_deg]"), end);
    }

    private void missing() throws InvalidProtocolBufferException {
        var request = GetEntityRequest.newBuilder().setEntityId(own("nobody")).build();
        String end = explained(() -> me(TrackServiceGrpc.newBlockingStub(channel)).getEntity(request));
        check(end.equals("NOT_FOUND ENTITY_NOT_FOUND waymark []"), end);
    }
}
