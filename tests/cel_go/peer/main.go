// The other half of ../differ.c and ../speed.c: cel-go evaluates what they send.
//
//	peer judge    reads blocks of lines and answers each expression with two verdicts,
//	              parsed only and checked: a value as show.go writes it, E when it fails, L when it
//	              cannot be planned, P when it is refused; L and P with the cause, see why.go
//	peer speed    reads the expressions and values to time, see speed.go
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/ext"
)

const lineMax = 16 << 20

func newEnv(more ...cel.EnvOption) (*cel.Env, error) {
	options := []cel.EnvOption{
		cel.OptionalTypes(), cel.CrossTypeNumericComparisons(true), cel.EnableMacroCallTracking(),
		cel.ParserRecursionLimit(250),
		ext.Strings(), ext.Math(), ext.Lists(), ext.Sets(), ext.Bindings(), ext.Encoders(),
		ext.TwoVarComprehensions(), ext.Regex(), ext.Network(),
	}
	return cel.NewEnv(append(options, more...)...)
}

func typeOf(name string) *cel.Type {
	switch name {
	case "bool":
		return cel.BoolType
	case "int":
		return cel.IntType
	case "uint":
		return cel.UintType
	case "double":
		return cel.DoubleType
	case "string":
		return cel.StringType
	case "bytes":
		return cel.BytesType
	case "timestamp":
		return cel.TimestampType
	case "duration":
		return cel.DurationType
	case "list(int)":
		return cel.ListType(cel.IntType)
	case "list(string)":
		return cel.ListType(cel.StringType)
	case "map(string,int)":
		return cel.MapType(cel.StringType, cel.IntType)
	case "map(string,dyn)":
		return cel.MapType(cel.StringType, cel.DynType)
	}
	return cel.DynType
}

type judge struct {
	in   *bufio.Reader
	env  *cel.Env
	vars []map[string]any
}

func (j *judge) line() (string, error) {
	text, err := j.in.ReadString('\n')
	return strings.TrimSuffix(text, "\n"), err
}

// declare reads "TYPE NAME" lines up to an empty one.
func (j *judge) declare() error {
	var variables []cel.EnvOption
	for {
		text, err := j.line()
		if err != nil {
			return err
		}
		if text == "" {
			break
		}
		kind, name, _ := strings.Cut(text, " ")
		variables = append(variables, cel.Variable(name, typeOf(kind)))
	}
	var err error
	j.env, err = newEnv(variables...)
	return err
}

// bind reads sets of "NAME EXPRESSION" lines, each set ended by an empty line, the last by two.
func (j *judge) bind() error {
	set := map[string]any{}
	for {
		text, err := j.line()
		if err != nil {
			return err
		}
		if text == "" {
			if len(set) == 0 {
				return nil
			}
			j.vars, set = append(j.vars, set), map[string]any{}
			continue
		}
		name, expression, _ := strings.Cut(text, " ")
		value, err := j.constant(expression)
		if err != nil {
			return fmt.Errorf("%s: %w", text, err)
		}
		set[name] = value
	}
}

func (j *judge) constant(expression string) (ref.Val, error) {
	ast, issues := j.env.Parse(expression)
	if issues.Err() != nil {
		return nil, issues.Err()
	}
	program, err := j.env.Program(ast)
	if err != nil {
		return nil, err
	}
	value, _, err := program.Eval(map[string]any{})
	return value, err
}

func (j *judge) evaluate(ast *cel.Ast, vars map[string]any) (verdict string) {
	defer func() {
		if recover() != nil {
			verdict = "E:panic"
		}
	}()
	program, err := j.env.Program(ast)
	if err != nil {
		return "L:" + causeOf(err)
	}
	value, _, err := program.Eval(vars)
	if err != nil && strings.Contains(err.Error(), "internal error") {
		return "E:panic"
	}
	if err != nil && strings.Contains(err.Error(), "no such overload: math.@") {
		return "E:math"
	}
	if err != nil {
		return "E"
	}
	return show(value)
}

// verdicts answers for one "SET EXPRESSION".
func (j *judge) verdicts(text string) string {
	number, expression, _ := strings.Cut(text, " ")
	set, err := strconv.Atoi(number)
	if err != nil || set >= len(j.vars) {
		return "? ?"
	}
	parsed, issues := j.env.Parse(expression)
	if issues.Err() != nil {
		return "P:" + causeOf(issues.Err()) + " P:" + causeOf(issues.Err())
	}
	loose := j.evaluate(parsed, j.vars[set])
	checked, issues := j.env.Check(parsed)
	if issues.Err() != nil {
		return loose + " P:" + causeOf(issues.Err())
	}
	return loose + " " + j.evaluate(checked, j.vars[set])
}

// run reads blocks: the number of lines, then the lines. All answers follow the last line.
func (j *judge) run(out *bufio.Writer) error {
	for {
		text, err := j.line()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		count, err := strconv.Atoi(text)
		if err != nil {
			return err
		}
		lines := make([]string, count)
		for i := range lines {
			if lines[i], err = j.line(); err != nil {
				return err
			}
		}
		for _, line := range lines {
			fmt.Fprintln(out, j.verdicts(line))
		}
		if err := out.Flush(); err != nil {
			return err
		}
	}
}

func main() {
	mode := ""
	if len(os.Args) == 2 {
		mode = os.Args[1]
	}
	in, out := bufio.NewReaderSize(os.Stdin, lineMax), bufio.NewWriter(os.Stdout)
	j := &judge{in: in}
	err := j.declare()
	if err == nil {
		err = j.bind()
	}
	switch {
	case err != nil:
	case mode == "judge":
		err = j.run(out)
	case mode == "speed":
		err = j.speed(out)
	default:
		err = fmt.Errorf("usage: peer judge|speed")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "peer:", err)
		os.Exit(1)
	}
}
