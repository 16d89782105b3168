/* A TCP stream to or from a host, as fast as it goes, until the host ends it.
 *
 *     stream ADDRESS PORT send|receive
 */
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static char data[256 * 1024];

int main(int argc, char **argv)
{
	struct sockaddr_in to = {.sin_family = AF_INET};
	int sock = socket(AF_INET, SOCK_STREAM, 0), sends;

	if (argc != 4 || !inet_aton(argv[1], &to.sin_addr))
		return 2;
	to.sin_port = htons(atoi(argv[2]));
	sends = !strcmp(argv[3], "send");
	signal(SIGPIPE, SIG_IGN);
	if (connect(sock, (struct sockaddr *)&to, sizeof to)) {
		perror("connect");
		return 1;
	}
	while ((sends ? write(sock, data, sizeof data) : read(sock, data, sizeof data)) > 0)
		;
	return 0;
}
