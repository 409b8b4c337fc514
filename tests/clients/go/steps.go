package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	authpb "waymark.test/scenario/gen/waymark/auth/v1"
	geopb "waymark.test/scenario/gen/waymark/geo/v1"
	flowpb "waymark.test/scenario/gen/waymark/workflow/v1"
)

const item = "Bücher 📚"

type step struct {
	name string
	run  func(context.Context) error
}

func (s *scenario) steps() []step {
	return []step{
		{"login", s.login}, {"refused", s.refused},
		{"fence", s.fence}, {"report", s.report}, {"search", s.search}, {"stream", s.stream},
		{"watch", s.watch}, {"cancel", s.cancel}, {"deadline", s.deadline},
		{"chart", s.chart}, {"start", s.start}, {"event", s.event}, {"work", s.work},
		{"field", s.field}, {"missing", s.missing},
	}
}

func (s *scenario) login(ctx context.Context) error {
	if err := s.logIn(ctx); err != nil {
		return err
	}
	me, err := s.auth.WhoAmI(ctx, &authpb.WhoAmIRequest{})
	if err != nil {
		return err
	}
	roles := []authpb.Role{authpb.Role_ROLE_OPERATOR, authpb.Role_ROLE_WORKER}
	return check(me.Principal == s.issuer+"#"+s.name && fmt.Sprint(me.Roles) == fmt.Sprint(roles), me)
}

func (s *scenario) refused(ctx context.Context) error {
	token := s.token.token
	s.token.token = ""
	_, err := s.auth.WhoAmI(ctx, &authpb.WhoAmIRequest{})
	s.token.token = token
	return check(explained(err) == "Unauthenticated TOKEN_MISSING waymark []", explained(err))
}

func (s *scenario) fence(ctx context.Context) error {
	corner := func(east, north float64) any { return []any{s.west + east, north} }
	ring := []any{corner(0, 0), corner(1, 0), corner(1, 1), corner(0, 1), corner(0, 0)}
	fence := &geopb.Fence{
		FenceId:  s.own("yard"),
		Geometry: object(map[string]any{"type": "Polygon", "coordinates": []any{ring}}),
	}
	made, err := s.fences.CreateFence(ctx, &geopb.CreateFenceRequest{Fence: fence})
	if err != nil {
		return err
	}
	return check(made.Fence.FenceId == fence.FenceId && made.Fence.Etag != "" &&
		proto.Equal(made.Fence.Geometry, fence.Geometry), made)
}

func (s *scenario) report(ctx context.Context) error {
	reply, err := s.tracks.ReportPositions(ctx, &geopb.ReportPositionsRequest{
		Positions: []*geopb.Position{s.fix("van", 0, 2), s.fix("van", 60, 0.5)},
	})
	if err != nil {
		return err
	}
	s.revision = reply.Revision
	stored := geopb.PositionOutcome_POSITION_OUTCOME_STORED
	if err := check(fmt.Sprint(reply.Outcomes) == fmt.Sprint([]any{stored, stored}), reply); err != nil {
		return err
	}
	if err := check(len(reply.Crossings) == 1, reply); err != nil {
		return err
	}
	crossing := reply.Crossings[0]
	return check(crossing.EntityId == s.own("van") && crossing.FenceId == s.own("yard") &&
		crossing.Kind == geopb.CrossingKind_CROSSING_KIND_ENTER && crossing.Time.Seconds == 1_700_000_060, reply)
}

func (s *scenario) search(ctx context.Context) error {
	found, err := s.tracks.SearchNearby(ctx, &geopb.SearchNearbyRequest{
		LonDeg: s.west + 0.5, LatDeg: 0.5, Limit: 1, Revision: s.revision,
	})
	if err != nil {
		return err
	}
	return check(len(found.Entities) == 1 && found.Entities[0].Position.EntityId == s.own("van") &&
		found.Entities[0].DistanceM < 1, found)
}

// Twenty messages through the yard: acknowledged in order, in at the 5th, out at the 15th.
func (s *scenario) stream(ctx context.Context) error {
	call, err := s.tracks.StreamPositions(ctx)
	if err != nil {
		return err
	}
	for n := int64(1); n <= 20; n++ {
		fix := s.fix("bike", n, float64(n)/10-0.45)
		request := &geopb.StreamPositionsRequest{Sequence: n, Positions: []*geopb.Position{fix}}
		if err := call.Send(request); err != nil {
			return err
		}
	}
	if err := call.CloseSend(); err != nil {
		return err
	}
	seen := ""
	for n := int64(1); ; n++ {
		reply, err := call.Recv()
		if errors.Is(err, io.EOF) {
			return check(n == 21 && seen == "5 CROSSING_KIND_ENTER 15 CROSSING_KIND_EXIT ", seen)
		}
		if err != nil {
			return err
		}
		if err := check(reply.Sequence == n, reply); err != nil {
			return err
		}
		for _, crossing := range reply.Crossings {
			seen += fmt.Sprint(n, " ", crossing.Kind, " ")
		}
	}
}

// The first message says that the watch is on: what is committed after it is seen, and the ENTER of
// just before may be.
func (s *scenario) watch(ctx context.Context) error {
	watching, cancel := context.WithCancel(context.Background())
	s.watchCancel = cancel
	call, err := s.fences.WatchFenceEvents(watching,
		&geopb.WatchFenceEventsRequest{EntityIds: []string{s.own("van")}})
	if err != nil {
		return err
	}
	s.watchCall = call
	reply, err := call.Recv()
	if err != nil {
		return err
	}
	if err := check(reply.ResumeToken != "", reply); err != nil {
		return err
	}
	_, err = s.tracks.ReportPositions(ctx,
		&geopb.ReportPositionsRequest{Positions: []*geopb.Position{s.fix("van", 120, 2)}})
	for err == nil && (len(reply.Events) == 0 || reply.Events[0].Kind == geopb.CrossingKind_CROSSING_KIND_ENTER) {
		reply, err = call.Recv()
	}
	if err != nil {
		return err
	}
	return check(len(reply.Events) == 1 && reply.Events[0].FenceId == s.own("yard") &&
		reply.Events[0].Kind == geopb.CrossingKind_CROSSING_KIND_EXIT, reply)
}

func (s *scenario) cancel(context.Context) error {
	s.watchCancel()
	for {
		if _, err := s.watchCall.Recv(); err != nil {
			return ends(err, codes.Canceled)
		}
	}
}

func (s *scenario) deadline(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	call, err := s.tracks.WatchPositions(ctx,
		&geopb.WatchPositionsRequest{EntityIds: []string{s.own("nobody")}})
	for err == nil {
		_, err = call.Recv()
	}
	return ends(err, codes.DeadlineExceeded)
}

func (s *scenario) chart(ctx context.Context) error {
	weigh := &flowpb.StartTask{
		Name: "weigh", Queue: s.own("scale"), Input: map[string]string{"item": "event.data.item"},
	}
	keep := &flowpb.Assign{Variable: "grams", Expression: "event.data.grams"}
	waiting := &flowpb.State{
		Id:          "waiting",
		Transitions: []*flowpb.Transition{{Event: "pack", Targets: []string{"packing"}}},
	}
	packing := &flowpb.State{
		Id:      "packing",
		OnEntry: []*flowpb.Action{{Kind: &flowpb.Action_StartTask{StartTask: weigh}}},
		Transitions: []*flowpb.Transition{{
			Event: "done.task.weigh", Targets: []string{"sent"},
			Actions: []*flowpb.Action{{Kind: &flowpb.Action_Assign{Assign: keep}}},
		}},
	}
	sent := &flowpb.State{Id: "sent", Kind: flowpb.StateKind_STATE_KIND_FINAL}
	reply, err := s.charts.PutChart(ctx, &flowpb.PutChartRequest{Chart: &flowpb.Chart{
		ChartId: s.own("parcel"), Initial: []string{"waiting"},
		States: []*flowpb.State{waiting, packing, sent},
		Data:   object(map[string]any{"grams": 0}),
	}})
	if err != nil {
		return err
	}
	return check(reply.Version == 1 && reply.Created, reply)
}

func (s *scenario) start(ctx context.Context) error {
	request := &flowpb.StartInstanceRequest{
		ChartId: s.own("parcel"), InstanceId: s.own("parcel-1"), RequestId: "start-1",
	}
	first, err := s.flows.StartInstance(ctx, request)
	if err != nil {
		return err
	}
	if err := check(first.Created && fmt.Sprint(first.Instance.Configuration) == "[waiting]", first); err != nil {
		return err
	}
	again, err := s.flows.StartInstance(ctx, request)
	if err != nil {
		return err
	}
	return check(!again.Created, again)
}

func (s *scenario) event(ctx context.Context) error {
	reply, err := s.flows.SendEvent(ctx, &flowpb.SendEventRequest{
		InstanceId: s.own("parcel-1"), Event: "pack", Data: object(map[string]any{"item": item}),
	})
	if err != nil {
		return err
	}
	return check(reply.Handled && fmt.Sprint(reply.Configuration) == "[packing]" &&
		reply.Status == flowpb.InstanceStatus_INSTANCE_STATUS_RUNNING, reply)
}

// Takes the task, gives its result, sees it acknowledged, and what became of the instance.
func (s *scenario) work(ctx context.Context) error {
	call, err := s.tasks.WorkTasks(ctx)
	if err != nil {
		return err
	}
	open := &flowpb.OpenWorker{Queues: []string{s.own("scale")}, Credits: 1, Worker: s.name}
	err = call.Send(&flowpb.WorkTasksRequest{Kind: &flowpb.WorkTasksRequest_Open{Open: open}})
	if err != nil {
		return err
	}
	reply := &flowpb.WorkTasksResponse{}
	for err == nil && len(reply.Tasks) == 0 {
		reply, err = call.Recv()
	}
	if err != nil {
		return err
	}
	task := reply.Tasks[0]
	if err := check(len(reply.Tasks) == 1 && task.Name == "weigh" && task.Attempt == 1 &&
		proto.Equal(task.Input, object(map[string]any{"item": item})), reply); err != nil {
		return err
	}
	grams := object(map[string]any{"grams": 120.5})
	result := &flowpb.TaskResult{LeaseToken: task.LeaseToken, Result: grams}
	err = call.Send(&flowpb.WorkTasksRequest{Kind: &flowpb.WorkTasksRequest_Result{Result: result}})
	for err == nil && len(reply.Acks) == 0 {
		reply, err = call.Recv()
	}
	if err != nil {
		return err
	}
	if err := check(len(reply.Acks) == 1 && reply.Acks[0].Code == 0 &&
		reply.Acks[0].LeaseToken == task.LeaseToken, reply); err != nil {
		return err
	}
	if err := call.CloseSend(); err != nil {
		return err
	}
	if reply, err := call.Recv(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("the stream goes on after its end: %v %w", reply, err)
	}
	got, err := s.flows.GetInstance(ctx, &flowpb.GetInstanceRequest{InstanceId: s.own("parcel-1")})
	if err != nil {
		return err
	}
	return check(got.Instance.Status == flowpb.InstanceStatus_INSTANCE_STATUS_ENDED &&
		proto.Equal(got.Instance.Data, grams), got)
}

func (s *scenario) field(ctx context.Context) error {
	_, err := s.tracks.ReportPositions(ctx, &geopb.ReportPositionsRequest{
		Positions: []*geopb.Position{s.fix("van", 180, 0), s.fix("van", 240, 361)},
	})
	wanted := "InvalidArgument COORDINATE_OUT_OF_RANGE waymark [positions[1].lon_deg]"
	return check(explained(err) == wanted, explained(err))
}

func (s *scenario) missing(ctx context.Context) error {
	_, err := s.tracks.GetEntity(ctx, &geopb.GetEntityRequest{EntityId: s.own("nobody")})
	return check(explained(err) == "NotFound ENTITY_NOT_FOUND waymark []", explained(err))
}
