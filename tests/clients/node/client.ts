/* The scenario of ../README.md by @grpc/grpc-js, with types and stubs of ts-proto. */
import { deepStrictEqual as equal, ok } from "node:assert";
import { env } from "node:process";

import {
  type CallOptions,
  type ChannelCredentials,
  type Client,
  type ClientReadableStream,
  type ClientUnaryCall,
  credentials,
  Metadata,
  type ServiceError,
  status,
} from "@grpc/grpc-js";

import { BadRequest, ErrorInfo } from "./gen/google/rpc/error_details.js";
import { Status } from "./gen/google/rpc/status.js";
import { AuthServiceClient, WhoAmIRequest } from "./gen/waymark/auth/v1/auth_service.js";
import { Role } from "./gen/waymark/auth/v1/grant.js";
import {
  CreateFenceRequest,
  FenceServiceClient,
  WatchFenceEventsRequest,
  type WatchFenceEventsResponse,
} from "./gen/waymark/geo/v1/fence_service.js";
import { CrossingKind, Fence, type FenceEvent, Position, PositionOutcome } from "./gen/waymark/geo/v1/geo.js";
import {
  GetEntityRequest,
  ReportPositionsRequest,
  SearchNearbyRequest,
  StreamPositionsRequest,
  TrackServiceClient,
  WatchPositionsRequest,
} from "./gen/waymark/geo/v1/track_service.js";
import { Chart, State, StateKind } from "./gen/waymark/workflow/v1/chart.js";
import { ChartServiceClient, PutChartRequest } from "./gen/waymark/workflow/v1/chart_service.js";
import { InstanceStatus } from "./gen/waymark/workflow/v1/instance.js";
import { TaskServiceClient, WorkTasksRequest, type WorkTasksResponse } from "./gen/waymark/workflow/v1/task_service.js";
import {
  GetInstanceRequest,
  SendEventRequest,
  StartInstanceRequest,
  WorkflowServiceClient,
} from "./gen/waymark/workflow/v1/workflow_service.js";

const ADDRESS = env.WAYMARK_ADDRESS!;
const ISSUER = env.WAYMARK_ISSUER!;
const NAME = env.WAYMARK_NAME!;
const WEST = Number(env.WAYMARK_WEST);
const ITEM = "Bücher 📚";
const TIMEOUT_MS = 20_000;

function stub<T extends Client>(kind: new (address: string, security: ChannelCredentials) => T): T {
  return new kind(ADDRESS, credentials.createInsecure());
}

const auth = stub(AuthServiceClient);
const fences = stub(FenceServiceClient);
const tracks = stub(TrackServiceClient);
const charts = stub(ChartServiceClient);
const flows = stub(WorkflowServiceClient);
const tasks = stub(TaskServiceClient);

const me = new Metadata();
let revision = "";
let watchCall: ClientReadableStream<WatchFenceEventsResponse>;

type Unary<Request, Response> = (
  request: Request,
  metadata: Metadata,
  options: Partial<CallOptions>,
  callback: (error: ServiceError | null, response: Response) => void,
) => ClientUnaryCall;

function within(timeoutMs = TIMEOUT_MS): Partial<CallOptions> {
  return { deadline: Date.now() + timeoutMs };
}

/** A unary call as a promise: `call(auth, auth.whoAmI, request)`. */
function call<Request, Response>(client: Client, method: Unary<Request, Response>, request: Request, as = me) {
  return new Promise<Response>((resolve, reject) => {
    method.call(client, request, as, within(), (error, response) => (error ? reject(error) : resolve(response)));
  });
}

/** The error that a promise ends with. */
async function failureOf(promise: Promise<unknown>): Promise<ServiceError> {
  try {
    await promise;
  } catch (error) {
    return error as ServiceError;
  }
  throw new Error("the call did not fail");
}

/** Code, reason, domain and the fields that are wrong. */
async function explained(promise: Promise<unknown>): Promise<unknown[]> {
  const failure = await failureOf(promise);
  let info = ErrorInfo.create();
  let fields: string[] = [];
  for (const bytes of failure.metadata.get("grpc-status-details-bin")) {
    for (const detail of Status.decode(bytes as Buffer).details) {
      if (detail.typeUrl.endsWith("/google.rpc.ErrorInfo")) info = ErrorInfo.decode(detail.value);
      if (detail.typeUrl.endsWith("/google.rpc.BadRequest"))
        fields = BadRequest.decode(detail.value).fieldViolations.map((violation) => violation.field);
    }
  }
  return [failure.code, info.reason, info.domain, ...fields];
}

/** Reads a stream message by message; its end without an error is undefined. */
function reader<T>(stream: ClientReadableStream<T>): () => Promise<T | undefined> {
  const messages = stream[Symbol.asyncIterator]() as AsyncIterator<T>;
  return async () => {
    const next = await messages.next();
    return next.done ? undefined : next.value;
  };
}

/** Where `entity` was, in degrees east of our own piece of the world. */
function fix(entity: string, second: number, east: number): Position {
  const time = new Date((1_700_000_000 + second) * 1000);
  return Position.create({ entityId: `${NAME}-${entity}`, time, lonDeg: WEST + east, latDeg: 0.5 });
}

function reportPositions(...positions: Position[]) {
  return call(tracks, tracks.reportPositions, ReportPositionsRequest.create({ positions }));
}

/** An access token, as any OAuth client gets it. */
async function logIn(): Promise<string> {
  const discovery = await (await fetch(`${ISSUER}/.well-known/openid-configuration`)).json();
  const answer = await fetch((discovery as { token_endpoint: string }).token_endpoint, {
    method: "POST",
    headers: { authorization: `Basic ${Buffer.from(`${encodeURIComponent(NAME)}:secret`).toString("base64")}` },
    body: new URLSearchParams({ grant_type: "client_credentials", scope: "operator worker" }),
  });
  return ((await answer.json()) as { access_token: string }).access_token;
}

const steps = {
  async login() {
    me.set("authorization", `Bearer ${await logIn()}`);
    const who = await call(auth, auth.whoAmI, WhoAmIRequest.create());
    equal([who.principal, who.roles], [`${ISSUER}#${NAME}`, [Role.ROLE_OPERATOR, Role.ROLE_WORKER]]);
  },

  async refused() {
    const failure = await explained(call(auth, auth.whoAmI, WhoAmIRequest.create(), new Metadata()));
    equal(failure, [status.UNAUTHENTICATED, "TOKEN_MISSING", "waymark"]);
  },

  async fence() {
    const ring = [[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]].map(([east, north]) => [WEST + east!, north]);
    const fence = Fence.create({ fenceId: `${NAME}-yard`, geometry: { type: "Polygon", coordinates: [ring] } });
    const made = (await call(fences, fences.createFence, CreateFenceRequest.create({ fence }))).fence!;
    equal([made.fenceId, made.geometry], [fence.fenceId, fence.geometry]);
    ok(made.etag);
  },

  async report() {
    const reply = await reportPositions(fix("van", 0, 2), fix("van", 60, 0.5));
    equal(reply.outcomes, [PositionOutcome.POSITION_OUTCOME_STORED, PositionOutcome.POSITION_OUTCOME_STORED]);
    const crossing = {
      entityId: `${NAME}-van`,
      fenceId: `${NAME}-yard`,
      kind: CrossingKind.CROSSING_KIND_ENTER,
      time: fix("van", 60, 0).time,
    };
    equal(reply.crossings, [crossing]);
    revision = reply.revision;
  },

  async search() {
    const request = SearchNearbyRequest.create({ lonDeg: WEST + 0.5, latDeg: 0.5, limit: 1, revision });
    const found = (await call(tracks, tracks.searchNearby, request)).entities;
    equal(found.map((entity) => entity.position!.entityId), [`${NAME}-van`]);
    ok(found[0]!.distanceM < 1);
  },

  /* Twenty messages through the yard: acknowledged in order, in at the 5th, out at the 15th. */
  async stream() {
    const numbers = Array.from({ length: 20 }, (_, i) => i + 1);
    const stream = tracks.streamPositions(me, within());
    for (const n of numbers)
      stream.write(StreamPositionsRequest.create({ sequence: n, positions: [fix("bike", n, n / 10 - 0.45)] }));
    stream.end();
    const seen: number[] = [];
    const crossings: number[][] = [];
    const read = reader(stream);
    for (let reply = await read(); reply; reply = await read()) {
      seen.push(reply.sequence);
      for (const crossing of reply.crossings) crossings.push([reply.sequence, crossing.kind]);
    }
    equal(seen, numbers);
    equal(crossings, [[5, CrossingKind.CROSSING_KIND_ENTER], [15, CrossingKind.CROSSING_KIND_EXIT]]);
  },

  /* The first message says that the watch is on: what is committed after it is seen, and the ENTER
   * of just before may be. */
  async watch() {
    watchCall = fences.watchFenceEvents(WatchFenceEventsRequest.create({ entityIds: [`${NAME}-van`] }), me, within());
    const next = (): Promise<WatchFenceEventsResponse> =>
      new Promise((resolve, reject) => {
        watchCall.once("error", reject);
        watchCall.once("data", (reply) => {
          watchCall.pause();
          watchCall.off("error", reject);
          resolve(reply);
        });
        watchCall.resume();
      });
    let reply = await next();
    ok(reply.resumeToken);
    await reportPositions(fix("van", 120, 2));
    let events: FenceEvent[];
    do {
      reply = await next();
      events = reply.events.filter((event) => event.kind !== CrossingKind.CROSSING_KIND_ENTER);
    } while (events.length === 0);
    equal(
      events.map((event) => [event.fenceId, event.kind]),
      [[`${NAME}-yard`, CrossingKind.CROSSING_KIND_EXIT]],
    );
  },

  async cancel() {
    const end = new Promise<ServiceError>((resolve) => watchCall.once("error", resolve));
    watchCall.cancel();
    watchCall.resume();
    equal((await end).code, status.CANCELLED);
  },

  async deadline() {
    const request = WatchPositionsRequest.create({ entityIds: [`${NAME}-nobody`] });
    const read = reader(tracks.watchPositions(request, me, within(300)));
    const end = async () => {
      while (await read());
    };
    equal((await failureOf(end())).code, status.DEADLINE_EXCEEDED);
  },

  async chart() {
    const weigh = { name: "weigh", queue: `${NAME}-scale`, input: { item: "event.data.item" } };
    const keep = { variable: "grams", expression: "event.data.grams" };
    const waiting = State.create({ id: "waiting", transitions: [{ event: "pack", targets: ["packing"] }] });
    const packing = State.create({
      id: "packing",
      onEntry: [{ kind: { $case: "startTask", value: weigh } }],
      transitions: [
        { event: "done.task.weigh", targets: ["sent"], actions: [{ kind: { $case: "assign", value: keep } }] },
      ],
    });
    const sent = State.create({ id: "sent", kind: StateKind.STATE_KIND_FINAL });
    const chart = Chart.create({
      chartId: `${NAME}-parcel`,
      initial: ["waiting"],
      states: [waiting, packing, sent],
      data: { grams: 0 },
    });
    const reply = await call(charts, charts.putChart, PutChartRequest.create({ chart }));
    equal([reply.version, reply.created], [1, true]);
  },

  async start() {
    const request = StartInstanceRequest.create({
      chartId: `${NAME}-parcel`,
      instanceId: `${NAME}-parcel-1`,
      requestId: "start-1",
    });
    const first = await call(flows, flows.startInstance, request);
    equal([first.created, first.instance!.configuration], [true, ["waiting"]]);
    equal((await call(flows, flows.startInstance, request)).created, false);
  },

  async event() {
    const request = SendEventRequest.create({ instanceId: `${NAME}-parcel-1`, event: "pack", data: { item: ITEM } });
    const reply = await call(flows, flows.sendEvent, request);
    equal(
      [reply.handled, reply.configuration, reply.status],
      [true, ["packing"], InstanceStatus.INSTANCE_STATUS_RUNNING],
    );
  },

  /* Takes the task, gives its result, sees it acknowledged, and what became of the instance. */
  async work() {
    const stream = tasks.workTasks(me, within());
    const read = reader(stream);
    const open = { queues: [`${NAME}-scale`], credits: 1, worker: NAME };
    stream.write(WorkTasksRequest.create({ kind: { $case: "open", value: open } }));
    let reply: WorkTasksResponse = (await read())!;
    while (reply.tasks.length === 0) reply = (await read())!;
    const [task] = reply.tasks;
    equal(
      [reply.tasks.length, task!.name, task!.attempt, task!.input],
      [1, "weigh", 1, { item: ITEM }],
    );
    const result = { leaseToken: task!.leaseToken, result: { grams: 120.5 } };
    stream.write(WorkTasksRequest.create({ kind: { $case: "result", value: result } }));
    while (reply.acks.length === 0) reply = (await read())!;
    equal(
      reply.acks.map((ack) => [ack.leaseToken, ack.code]),
      [[task!.leaseToken, 0]],
    );
    stream.end();
    equal(await read(), undefined);
    const request = GetInstanceRequest.create({ instanceId: `${NAME}-parcel-1` });
    const instance = (await call(flows, flows.getInstance, request)).instance!;
    equal([instance.status, instance.data], [InstanceStatus.INSTANCE_STATUS_ENDED, { grams: 120.5 }]);
  },

  async field() {
    const failure = await explained(reportPositions(fix("van", 180, 0), fix("van", 240, 361)));
    equal(failure, [status.INVALID_ARGUMENT, "COORDINATE_OUT_OF_RANGE", "waymark", "positions[1].lon_deg"]);
  },

  async missing() {
    const request = GetEntityRequest.create({ entityId: `${NAME}-nobody` });
    const failure = await explained(call(tracks, tracks.getEntity, request));
    equal(failure, [status.NOT_FOUND, "ENTITY_NOT_FOUND", "waymark"]);
  },
};

for (const [name, step] of Object.entries(steps)) {
  await step();
  console.log("ok", name);
}
for (const client of [auth, fences, tracks, charts, flows, tasks]) client.close();
