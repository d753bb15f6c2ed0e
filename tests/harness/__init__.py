"""Shared by the test suites. A test file puts tests/ on sys.path and imports the names that it uses.

    settings    path of the program, addresses, time limits
    tap         marks tests, runs them, prints TAP; assertions
    program     runs the program once; its exit status, output and documents
    identity    certificate authorities and certificates
    control     one connection to an agent's control socket
    agent       an agent as a process, and the pair in force of two agents
    lab         the fixture of the tests on loopback: a folder, a port, agents
    labfile     lab files, and the lab verbs on them
    sshd        an sshd with keys of its own
    netns       hosts as network namespaces
    traffic     numbered packets between hosts, and a packet counter on the wire
    kernel      the fixture of the kernel suite
    kernel_soak three hosts, traffic and random faults
    uml         boots user-mode Linux
    hostile     a peer in Python: unauthenticated, hostile or conforming
    documents   sections, tables and C declarations of the documentation
    schema      JSON Schema
    wine        agents and programs of the Windows build, under Wine
    wfp_engine  controls and reads the substitute for the filter engine
"""
