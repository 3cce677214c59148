// SSH servers that cost a third of those in Python: for scenes of a thousand instances, where the latter need as much of the
// processor as the dispatcher. tests/bench/live/light.py starts this program and talks to it in lines of JSON; queue and cloud
// stay in Python.
package main

import (
	"bufio"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
)

// order is a line that comes in: create or destroy a machine, or end a runner there.
type order struct {
	Do, ID, Key, Secret, UUID string
	UpS                       float64 `json:"up_s"`
}

// news is a line that goes out: a machine's address, a list of its runners that was asked for, a runner that was started.
type news struct {
	Did     string  `json:"did"`
	ID      string  `json:"id"`
	Address string  `json:"address"`
	UUID    string  `json:"uuid"`
	AtS     float64 `json:"at_s"`
}

// machine has runners that do nothing until they are ended.
type machine struct {
	sync.Mutex
	order
	listener        net.Listener
	connections     map[net.Conn]bool
	running, waited map[string]bool
	watcher         ssh.Channel
}

var (
	hostKey ssh.Signer
	out     = json.NewEncoder(os.Stdout)
	outLock sync.Mutex
)

func tell(one news) {
	outLock.Lock()
	defer outLock.Unlock()
	if out.Encode(one) != nil {
		os.Exit(1)
	}
}

// now is the clock that all processes of a host share.
func now() float64 {
	var spec unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &spec); err != nil {
		panic(err)
	}
	return float64(spec.Sec) + float64(spec.Nsec)/1e9
}

func create(asked order) *machine {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	made := &machine{
		order: asked, listener: listener, connections: map[net.Conn]bool{}, running: map[string]bool{}, waited: map[string]bool{},
	}
	go made.accept()
	tell(news{Did: "create", ID: asked.ID, Address: listener.Addr().String()})
	return made
}

func (m *machine) destroy() {
	m.listener.Close()
	m.Lock()
	defer m.Unlock()
	for connection := range m.connections {
		connection.Close()
	}
}

func (m *machine) accept() {
	config := &ssh.ServerConfig{
		PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			if strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))) != m.Key {
				return nil, errors.New("another key is expected")
			}
			return nil, nil
		},
	}
	config.AddHostKey(hostKey)
	for {
		connection, err := m.listener.Accept()
		if err != nil {
			return
		}
		if now() < m.UpS {
			connection.Close()
			continue
		}
		m.Lock()
		m.connections[connection] = true
		m.Unlock()
		go m.serve(connection, config)
	}
}

func (m *machine) serve(connection net.Conn, config *ssh.ServerConfig) {
	defer connection.Close()
	_, channels, requests, err := ssh.NewServerConn(connection, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for offered := range channels {
		channel, asked, err := offered.Accept()
		if err != nil {
			continue
		}
		go func() {
			for request := range asked {
				_ = request.Reply(request.Type == "exec", nil)
				if request.Type == "exec" {
					go m.perform(string(request.Payload[4:]), channel)
				}
			}
		}()
	}
}

func (m *machine) perform(command string, channel ssh.Channel) {
	status := m.run(strings.Fields(strings.ReplaceAll(command, "'", "")), channel)
	_, _ = channel.SendRequest("exit-status", false, []byte{0, 0, 0, status})
	channel.Close()
}

func (m *machine) run(words []string, channel ssh.Channel) byte {
	command, last := " "+strings.Join(words, " ")+" ", words[len(words)-1]
	switch {
	case strings.Contains(command, " --list "):
		_, _ = io.WriteString(channel, m.list())
	case strings.Contains(command, " --detach "):
		_, _ = io.Copy(io.Discard, channel)
		m.start(last)
		fmt.Fprintf(channel, `{"UUID":"%s","PID":1}`, last)
	case strings.Contains(command, " --kill "):
		m.Lock()
		defer m.Unlock()
		if m.running[last] {
			return 1
		}
	case words[0] == "cat":
		_, _ = io.WriteString(channel, m.Secret)
	case words[0] == "setsid":
		m.watch(channel)
	case words[0] != "true" && words[0] != "systemctl":
		return 127
	}
	return 0
}

func (m *machine) list() string {
	tell(news{Did: "list", ID: m.ID, AtS: now()})
	m.Lock()
	defer m.Unlock()
	found := ""
	for uuid := range m.running {
		found += uuid + "\n"
	}
	return found
}

func (m *machine) start(uuid string) {
	m.Lock()
	m.running[uuid] = true
	m.Unlock()
	tell(news{Did: "start", ID: m.ID, UUID: uuid, AtS: now()})
}

// watch stands for the watcher, without a process for each container: it says who has ended, until its input does.
func (m *machine) watch(channel ssh.Channel) {
	m.Lock()
	m.watcher, m.waited = channel, map[string]bool{}
	m.Unlock()
	for lines := bufio.NewScanner(channel); lines.Scan(); {
		m.Lock()
		m.waited[lines.Text()] = true
		m.sayIfOver(lines.Text())
		m.Unlock()
	}
}

func (m *machine) end(uuid string) {
	m.Lock()
	defer m.Unlock()
	delete(m.running, uuid)
	m.sayIfOver(uuid)
}

func (m *machine) sayIfOver(uuid string) {
	if m.waited[uuid] && !m.running[uuid] {
		delete(m.waited, uuid)
		_, _ = io.WriteString(m.watcher, uuid+"\n")
	}
}

func main() {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	if hostKey, err = ssh.NewSignerFromKey(private); err != nil {
		panic(err)
	}
	machines := map[string]*machine{}
	for orders := json.NewDecoder(os.Stdin); ; {
		var next order
		if orders.Decode(&next) != nil {
			return // whoever started it is gone
		}
		switch held := machines[next.ID]; next.Do {
		case "create":
			machines[next.ID] = create(next)
		case "destroy":
			held.destroy()
		case "end":
			held.end(next.UUID) // of a destroyed one too: its runners end as well
		}
	}
}
