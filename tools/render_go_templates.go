// Renders templates as a server of Ollama's interface does: one JSON object with a template and messages a line in,
// one JSON object with the text or an error a line out. What is written here follows the documented behaviour: system
// prompts gathered, neighbours of one role joined, and turns for templates that know no messages.
package main

import (
	"bufio"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"text/template"
	"text/template/parse"
)

type arguments map[string]any

func (given arguments) String() string { return asJSON(map[string]any(given)) }

type call struct {
	Function struct {
		Name      string    `json:"name"`
		Arguments arguments `json:"arguments"`
	} `json:"function"`
}

type message struct {
	Role      string `json:"role"`
	Content   string `json:"content"`
	Thinking  string `json:"reasoning_content"`
	ToolCalls []call `json:"tool_calls"`
}

type property struct {
	Type        string `json:"type"`
	Description string `json:"description"`
}

type function struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	Parameters  struct {
		Type       string              `json:"type"`
		Properties map[string]property `json:"properties"`
		Required   []string            `json:"required"`
	} `json:"parameters"`
}

func (given function) String() string { return asJSON(given) }

type tool struct {
	Type     string   `json:"type"`
	Function function `json:"function"`
}

func (given tool) String() string { return asJSON(given) }

type request struct {
	Template string    `json:"template"`
	Messages []message `json:"messages"`
	Tools    []tool    `json:"tools"`
}

func asJSON(value any) string {
	var out strings.Builder
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.Encode(value)
	return strings.TrimSuffix(out.String(), "\n")
}

func render(asked request) (string, error) {
	made, err := template.New("").Option("missingkey=zero").Funcs(template.FuncMap{"json": asJSON}).Parse(asked.Template)
	if err != nil {
		return "", err
	}
	var system []string
	var joined []message
	for _, each := range asked.Messages {
		if each.Role == "system" {
			system = append(system, each.Content)
		}
		if last := len(joined) - 1; last >= 0 && joined[last].Role == each.Role && each.Role != "tool" {
			joined[last].Content += "\n\n" + each.Content
		} else {
			joined = append(joined, each)
		}
	}
	var out strings.Builder
	if strings.Contains(asked.Template, ".Messages") {
		err = made.Execute(&out, map[string]any{
			"System": strings.Join(system, "\n\n"), "Messages": joined, "Tools": asked.Tools, "Response": "",
			"Prompt": "", "Think": false, "IsThinkSet": false,
		})
		return out.String(), err
	}
	turn := map[string]any{"System": "", "Prompt": "", "Response": ""}
	forget := func() {
		for key := range turn {
			turn[key] = ""
		}
	}
	for _, each := range joined {
		isNext := each.Role == "system" && (turn["Prompt"] != "" || turn["Response"] != "")
		if isNext || each.Role == "user" && turn["Response"] != "" {
			if err := made.Execute(&out, turn); err != nil {
				return "", err
			}
			if !strings.Contains(asked.Template, ".Response") {
				out.WriteString(turn["Response"].(string))
			}
			forget()
		}
		turn[map[string]string{"system": "System", "user": "Prompt", "assistant": "Response"}[each.Role]] = each.Content
	}
	isOver := false
	cut(made.Tree.Root, &isOver)
	err = made.Execute(&out, turn)
	return out.String(), err
}

// Takes away where the response is written, and all that follows.
func cut(list *parse.ListNode, isOver *bool) {
	if list == nil {
		return
	}
	list.Nodes = slices.DeleteFunc(list.Nodes, func(node parse.Node) bool {
		if *isOver {
			return true
		}
		switch each := node.(type) {
		case *parse.ActionNode:
			*isOver = strings.Contains(each.String(), ".Response")
			return *isOver
		case *parse.IfNode:
			cut(each.List, isOver)
			cut(each.ElseList, isOver)
		}
		return false
	})
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		var asked request
		answer := map[string]string{}
		err := json.Unmarshal(lines.Bytes(), &asked)
		if err == nil {
			answer["text"], err = render(asked)
		}
		if err != nil {
			answer = map[string]string{"error": err.Error()}
		}
		os.Stdout.WriteString(asJSON(answer) + "\n")
	}
}
