// Receives images with the library until the connection ends, and writes of each what the library says of it: a line
// of numbers, then its pixels as they lie in memory.
//
// ReceiveImages PORT

#include <cstdio>
#include <cstdlib>

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
  while (true)
  {
    header->InitPack();
    if (socket->Receive(header->GetPackPointer(), header->GetPackSize()) != header->GetPackSize())
    {
      return 0;
    }
    header->Unpack();
    igtl::ImageMessage::Pointer image = igtl::ImageMessage::New();
    image->SetMessageHeader(header);
    image->AllocatePack();
    socket->Receive(image->GetPackBodyPointer(), image->GetPackBodySize());
    const bool well = image->Unpack(1) & igtl::MessageHeader::UNPACK_BODY;

    int size[3], part[3], offset[3];
    float spacing[3];
    igtl::Matrix4x4 matrix;
    image->GetDimensions(size);
    image->GetSubVolume(part, offset);
    image->GetSpacing(spacing);
    image->GetMatrix(matrix);
    const int nbytes = well ? image->GetSubVolumeImageSize() : 0;
    printf("%d %d %d %d %d %d", well, nbytes, image->GetScalarType(), image->GetNumComponents(), image->GetEndian(),
           image->GetCoordinateSystem());
    for (int axis = 0; axis < 3; ++axis)
    {
      printf(" %d %d %d %.9g", size[axis], part[axis], offset[axis], spacing[axis]);
    }
    for (int index = 0; index < 16; ++index)
    {
      printf(" %.9g", matrix[index / 4][index % 4]);
    }
    printf("\n");
    fwrite(image->GetScalarPointer(), 1, nbytes, stdout);
    fflush(stdout);
  }
}
