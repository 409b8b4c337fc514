// The scenario of ../README.md by grpc-go.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	authpb "waymark.test/scenario/gen/waymark/auth/v1"
	geopb "waymark.test/scenario/gen/waymark/geo/v1"
	flowpb "waymark.test/scenario/gen/waymark/workflow/v1"
)

const timeout = 20 * time.Second

// scenario is what the steps hand to each other.
type scenario struct {
	issuer, name string
	west         float64

	auth   authpb.AuthServiceClient
	fences geopb.FenceServiceClient
	tracks geopb.TrackServiceClient
	charts flowpb.ChartServiceClient
	flows  flowpb.WorkflowServiceClient
	tasks  flowpb.TaskServiceClient

	token       *bearer
	revision    string
	watchCall   grpc.ServerStreamingClient[geopb.WatchFenceEventsResponse]
	watchCancel context.CancelFunc
}

// bearer puts the token on each call, as per-call credentials; none before the login.
type bearer struct{ token string }

func (b *bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	if b.token == "" {
		return nil, nil
	}
	return map[string]string{"authorization": "Bearer " + b.token}, nil
}

func (b *bearer) RequireTransportSecurity() bool { return false }

func newScenario(conn *grpc.ClientConn, token *bearer) (*scenario, error) {
	west, err := strconv.ParseFloat(os.Getenv("WAYMARK_WEST"), 64)
	return &scenario{
		issuer: os.Getenv("WAYMARK_ISSUER"),
		name:   os.Getenv("WAYMARK_NAME"),
		west:   west,
		auth:   authpb.NewAuthServiceClient(conn),
		fences: geopb.NewFenceServiceClient(conn),
		tracks: geopb.NewTrackServiceClient(conn),
		charts: flowpb.NewChartServiceClient(conn),
		flows:  flowpb.NewWorkflowServiceClient(conn),
		tasks:  flowpb.NewTaskServiceClient(conn),
		token:  token,
	}, err
}

// check fails with what was seen when something is not as it must be.
func check(condition bool, seen any) error {
	if condition {
		return nil
	}
	return fmt.Errorf("not as it must be: %v", seen)
}

// own is NAME-suffix.
func (s *scenario) own(suffix string) string { return s.name + "-" + suffix }

// fix is where entity was, in degrees east of our own piece of the world.
func (s *scenario) fix(entity string, second int64, east float64) *geopb.Position {
	return &geopb.Position{
		EntityId: s.own(entity),
		Time:     &timestamppb.Timestamp{Seconds: 1_700_000_000 + second},
		LonDeg:   s.west + east,
		LatDeg:   0.5,
	}
}

func object(members map[string]any) *structpb.Struct {
	value, err := structpb.NewStruct(members)
	if err != nil {
		panic(err)
	}
	return value
}

// explained is code, reason, domain and the fields that are wrong, as one text.
func explained(err error) string {
	var info errdetails.ErrorInfo
	var fields []string
	failure := status.Convert(err)
	for _, detail := range failure.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			info.Reason, info.Domain = detail.Reason, detail.Domain
		case *errdetails.BadRequest:
			for _, violation := range detail.FieldViolations {
				fields = append(fields, violation.Field)
			}
		}
	}
	return fmt.Sprint(failure.Code(), " ", info.Reason, " ", info.Domain, " ", fields)
}

func getJSON(request *http.Request, into any) error {
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return errors.New(answer.Status)
	}
	return json.NewDecoder(answer.Body).Decode(into)
}

// logIn gets an access token as any OAuth client does.
func (s *scenario) logIn(ctx context.Context) error {
	var discovery struct {
		TokenEndpoint string `json:"token_endpoint"`
	}
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	request, err := http.NewRequestWithContext(ctx, "GET", s.issuer+"/.well-known/openid-configuration", nil)
	if err != nil {
		return err
	}
	if err = getJSON(request, &discovery); err != nil {
		return err
	}
	form := url.Values{"grant_type": {"client_credentials"}, "scope": {"operator worker"}}
	request, err = http.NewRequestWithContext(ctx, "POST", discovery.TokenEndpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth(url.QueryEscape(s.name), "secret")
	if err = getJSON(request, &answer); err != nil {
		return err
	}
	s.token.token = answer.AccessToken
	return nil
}

func run() error {
	token := &bearer{}
	conn, err := grpc.NewClient(os.Getenv("WAYMARK_ADDRESS"),
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithPerRPCCredentials(token))
	if err != nil {
		return err
	}
	defer conn.Close()
	s, err := newScenario(conn, token)
	if err != nil {
		return err
	}
	for _, step := range s.steps() {
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		err := step.run(ctx)
		cancel()
		if err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		fmt.Println("ok", step.name)
	}
	return nil
}

// ends checks the code that a call ends with.
func ends(err error, code codes.Code) error {
	if status.Code(err) != code {
		return fmt.Errorf("ended with %w, not %v", err, code)
	}
	return nil
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
