// Receives images with the C++ library as fast as it can, and prints the moment at which each was complete: seconds of
// the monotonic clock.
//
// ReceiveFast PORT COUNT CRC(0|1)

#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <vector>

#include "igtlClientSocket.h"
#include "igtlImageMessage.h"

int main(int, char* argv[])
{
  igtl::ClientSocket::Pointer socket = igtl::ClientSocket::New();
  if (socket->ConnectToServer("127.0.0.1", atoi(argv[1])) != 0)
  {
    return 1;
  }
  igtl::MessageHeader::Pointer header = igtl::MessageHeader::New();
  igtl::ImageMessage::Pointer image = igtl::ImageMessage::New();
  std::vector<double> moments;
  while (moments.size() < static_cast<size_t>(atoi(argv[2])))
  {
    header->InitPack();
    if (socket->Receive(header->GetPackPointer(), header->GetPackSize()) != header->GetPackSize())
    {
      return 1;
    }
    header->Unpack();
    image->SetMessageHeader(header);
    image->AllocatePack();
    socket->Receive(image->GetPackBodyPointer(), image->GetPackBodySize());
    if (!(image->Unpack(atoi(argv[3])) & igtl::MessageHeader::UNPACK_BODY))
    {
      return 1;
    }
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    moments.push_back(now.tv_sec + 1e-9 * now.tv_nsec);
  }
  for (double moment : moments)
  {
    printf("%.6f\n", moment);
  }
}
